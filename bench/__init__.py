"""Benchmarks: ratios within one interleaved run. Absolute figures drift with the machine, ratios hold."""
