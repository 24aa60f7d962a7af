"""The runtime: workers claim runs and perform them.

`worker` claims and keeps the lease, `execution` performs one run, `task` is what a task's function
gets, `group_commit` makes the events of many runs durable in few commits, `steps` does a step once.
"""
