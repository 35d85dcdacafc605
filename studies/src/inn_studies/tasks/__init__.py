"""Tasks on real data, from wheels that are not the package's: `inn train task:series --run DIR` where they are there."""
