"""Benchmarks: ratios against a peer or a limit, measured in the same run. See `__main__`."""

MISSED = 3  # the exit code of one that missed its target; 1 is Python's for a traceback
