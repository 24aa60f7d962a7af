"""The shim: the small process that owns one external run. It is a program of its own.

It is copied as a whole, into one file in the run's directory (see `dama.programs.packed`), so
that a deploy never changes the code under a running program. Standard library only, and little of
it: there is one for each program that runs. Nothing here imports anything else of dama.

`supervisor.py` is the process, from its start to its end; it has a `family` of processes, `files`
in the run's directory and, with `pty`, a `terminal`. `starting.py` is how a child of it becomes the
program.
"""
