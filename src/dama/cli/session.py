"""The session: what one command knows, and all that it asks of the rest of the program.

The configuration, the registry and the app are made here and nowhere else in the command line,
and only for the commands that ask for them.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.config.config import Config
    from dama.definitions.registry import Registry
    from dama.definitions.service import Service
    from dama.embedded import EmbeddedPostgres


class Session:
    """What the options say, whichever place they were given in.

    Args:
        services: Those that are there before any module is loaded.

    Attributes:
        debug: Show tracebacks.
        pg_env: The name of a file config/postgres.NAME.env.
        profile: The name of a table [profiles.NAME].
        says_yes: A command need not ask before it changes a protected environment.
        is_in_cluster: The app that was opened last is a node of a cluster.
    """

    def __init__(self, services: tuple[Service, ...] = ()) -> None:
        self.debug = False
        self.pg_env: str | None = None
        self.profile: str | None = None
        self.says_yes = False
        self.is_in_cluster = False
        self._services = services
        self._config: tuple[tuple[str | None, str | None], Config] | None = None
        self._registry: Registry | None = None

    def config(self) -> Config:
        """Read and check all settings, once; again only where an option came late on the line."""
        chosen = self.pg_env, self.profile
        if self._config is None or self._config[0] != chosen:
            from dama.cli.settings import check
            from dama.config.config import load_config

            if self.profile:  # for modules that read their own settings, and for other processes
                os.environ["DAMA_PROFILE"] = self.profile
            config = load_config(pg_env=self.pg_env)
            check(config)
            self._config = chosen, config
        return self._config[1]

    def environments(self) -> list[Session]:
        """A session for each environment that is served together; none where one is chosen."""
        found: list[Session] = []
        for name in self.config().environments:
            each = Session(self._services)
            each.debug, each.profile, each.pg_env = self.debug, self.profile, name
            each._registry = self.registry()
            found.append(each)
        return found

    def registry(self) -> Registry:
        """Load the modules of the project and read its programs, once."""
        if self._registry is None:
            from dama.definitions.registry import Registry

            registry = Registry(self._services)
            registry.load(self.config())
            _tell_broken(registry)
            self._registry = registry
        return self._registry

    def tell_unfit(self) -> None:
        """Say which tasks nobody can start, where they are about to be served."""
        from dama.cli.terminal import echo
        from dama.errors import InvalidDefinitionError

        for task in self.registry().tasks.values():
            try:
                task.params_schema()
            except InvalidDefinitionError as error:
                echo(f"Nobody can start it: {error.message}", err=True)

    def outlives_worker(self, task: str) -> bool:
        """Whether the runs of a task have a process of their own, which outlives its worker."""
        from dama.definitions.errors import UnknownTaskError

        try:
            return self.registry().task(task).outlives_worker
        except UnknownTaskError:
            return False

    def embedded(self) -> EmbeddedPostgres | None:
        """The embedded database; None when another one is configured."""
        from dama.config.config import EmbeddedDatabase

        config = self.config()
        if not isinstance(config.database, EmbeddedDatabase):
            return None
        from dama.embedded import EmbeddedPostgres

        return EmbeddedPostgres(config.home)

    def url(self) -> str:
        """Where the database is; the embedded one is started."""
        from dama.config.config import ExternalDatabase

        database = self.config().database
        if isinstance(database, ExternalDatabase):
            from dama.store.conninfo import check_conninfo

            check_conninfo(database.conninfo, database.source)
            return database.conninfo
        from dama.embedded import EmbeddedPostgres

        return EmbeddedPostgres(self.config().home).start()

    @asynccontextmanager
    async def app(
        self, *, with_services: bool = False, patience: float | None = None
    ) -> AsyncGenerator[App]:
        """Open the app; only what runs tasks needs the services, and may fail for them.

        Args:
            with_services: Load them, and be a node when somebody asks for the broker.
            patience: See `NodeSource`.
        """
        from dama.app import App
        from dama.definitions.registry import Registry

        config = self.config()
        if not with_services:
            async with App.open(config, Registry(self._services)) as app:
                yield app
            return
        from dama.shipped.node import node_of
        from dama.spans import configure_spans

        configure_spans("dama")
        async with (
            App.open(config, self.registry()) as app,
            node_of(app, config.broker, config.source, patience=patience) as node,
        ):
            self.is_in_cluster = node.is_in_cluster
            yield app


def _tell_broken(registry: Registry) -> None:
    """Say which modules are left out, whatever the command is for."""
    from dama.cli.terminal import echo

    for module in registry.broken.values():
        tasks = ", ".join(module.tasks) or "what it has"
        echo(f"Left out: {tasks}. {module.error.message}", err=True)


def started_as() -> str:
    """What was typed to start a module: `python -m examples.flights`, `python flights.py`."""
    main = sys.modules["__main__"]
    if spec := main.__spec__:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return f"python {Path(sys.argv[0]).name}"
