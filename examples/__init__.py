"""A trading engine to copy from, and the demo that runs it: `make demo`."""
