"""Benchmarks: each prints its own baseline, measured in the same run on the same machine."""
