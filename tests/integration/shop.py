"""The project of `served` as a module, for the command line."""

from .served import project

shop = project()
