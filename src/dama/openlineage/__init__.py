"""OpenLineage: what runs read and wrote, sent to where it is collected.

A subscription of the log, which makes events of OpenLineage of those that begin and end attempts.
What makes and sends them is the library `openlineage-python`, the extra `openlineage`.
"""
