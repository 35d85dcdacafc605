"""Tasks on real data, from packages that the library does not need: `inn train task:series --run DIR`."""
