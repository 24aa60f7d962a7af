"""dbt: programs whose nodes become events while they run, and of which only what failed is retried.

The shim of such a program starts `python -m dama.dbt COMMAND`, which starts dbt, follows its
structured log, and tells of each node by the protocol that every program has.
"""
