"""Launchers: engines that place a run on another machine, and what a process learns of its place.

The engine places; PostgreSQL decides. A launcher puts a bound worker somewhere, whose lease and
epoch hold there as anywhere (docs/decisions/0040).
"""
