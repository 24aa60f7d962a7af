"""Definitions: services with tasks, actions, programs and options, as authors write them."""
