"""Taps: programs that speak Singer, whose records are loaded as they come.

The loader is what the shim of such a program starts: it starts the tap, reads its output no faster
than it is loaded, and commits the records up to a STATE together with that state, so that whatever
dies when, the next run continues behind what is in the tables. Records never become events.
"""
