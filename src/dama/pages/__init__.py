"""Pages: what a browser sees. The server renders them; without JavaScript they only do not refresh.

They show what the verbs of `dama.operations` return and act by them, so that the command line and
HTTP show the same. Whatever is long is shown as a window with the place to read on from.
"""
