"""The composition root: reads the world, wires the edges to the ports, runs."""
