"""Drafts: declarations of programs for review, made of what a project has already.

A folder of scripts, a Makefile, a package.json or a crontab is read, and nothing of it is run. What
is certain becomes a declaration; what only looks so (options, variables, schedules) is a comment
below it, for a person to judge.
"""
