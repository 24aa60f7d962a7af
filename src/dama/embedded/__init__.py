"""The embedded PostgreSQL: a real server that belongs to one home folder, and to nobody else.

It starts when it is needed, runs until a person stops it, listens on no network, and survives
kill -9 of everything. `server` starts and stops it, `data` makes its data, `postmaster` tells
whether it lives, `socket_folder` keeps the way to it, `home` holds the locks, `account` says who it
runs as, `launcher` is the program that becomes the server, `errors` is what can go wrong.
"""

from dama.embedded.server import EmbeddedPostgres, ServerStatus

__all__ = ["EmbeddedPostgres", "ServerStatus"]
