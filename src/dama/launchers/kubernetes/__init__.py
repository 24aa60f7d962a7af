"""Kubernetes: each group of runs is an Indexed Job, over plain HTTP.

What a cluster answers is held to recordings of Kubernetes 1.36 in the tests, and what it is asked
for to the published schemas.
"""
