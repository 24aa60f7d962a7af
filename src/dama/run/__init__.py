"""Runs: what a task's function sees, and how it becomes events.

`execution` is one run, `task` is what a task's function gets, `group_commit` makes the events of
many runs durable in few commits, `steps` does a step once.
"""
