"""Bundles: files in which contexts leave a database, with their events, and what runs left.

`layout` says what stands in one, `writing` and `reading` do that, `run_files` has what programs
printed and left. The format is in docs/reference/bundles.md.
"""
