"""Settings of all tables, checked when a command starts, whichever of them it needs.

A misspelt key would otherwise wait for the one command that reads its table. Only what is there is
checked, so that a listing imports no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dama.config.config import Config


def check(config: Config) -> None:
    """Refuse settings that are unknown or make no sense, of any table.

    Raises:
        InvalidDefinitionError: The message has the file, the key and the nearest one that is known.
    """
    source = config.source or "the environment"
    if config.keep:
        from dama.upkeep.cleaning import read_keep

        read_keep(config.keep, source)
    if config.gateway:
        from dama.gateway.settings import read_settings

        read_settings(config.gateway, source, host=None, port=None)
    if config.launchers:
        from dama.launchers.settings import read_launchers

        read_launchers(config)
    if config.broker:
        from dama.shipped.node_settings import check_node

        check_node(config.broker, config.source)
    if config.programs or config.inherit is not None:
        from dama.definitions.registry import Registry

        registry = Registry()
        registry.add_programs(config.programs, source, config.project)
        registry.let_inherit(config.inherit, source)
