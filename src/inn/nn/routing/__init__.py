"""Routers: how neurons exchange messages at one step; one file per kind, one protocol (`inn.Router`)."""
