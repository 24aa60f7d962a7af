"""The services that are there without being written: tasks, contexts, events and so on.

What they do is done by `dama.app`; here it gets names, so that services on any node, the gateway
and people at a prompt can call it. `node` puts them together with those of the project.
"""
