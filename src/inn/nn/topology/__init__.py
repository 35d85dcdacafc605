"""Topologies: which neurons may hear which; one file per kind, one protocol (`inn.Topology`)."""
