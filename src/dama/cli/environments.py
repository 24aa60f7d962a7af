"""Several environments in one process: each with an app, a worker and a gateway of its own.

Each is a duty: one whose database is away is tried again, however long it is, and the others do
not notice.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from dama.cli.terminal import echo
from dama.duty import Duty, in_words, on_duty
from dama.errors import DamaError, UnavailableError, UsageError
from dama.telemetry import about

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.cli.session import Session
    from dama.gateway.application import Site
    from dama.gateway.environments import Environments
    from dama.gateway.settings import GatewaySettings

    Pages = Callable[[App, Broker, GatewaySettings], Site]
    Work = Callable[[Session, App], Coroutine[Any, Any, int]]

UNREACHED = 1


class AwayError(UnavailableError):
    """An environment cannot be served now."""

    code = "ENVIRONMENT_AWAY"


class Serving:
    """Environments that are served by one process.

    Args:
        told: Set when the process is told to stop.
        work: Does what there is to do in an environment, until it is told to stop; returns the
            exit code.
        settings: Of the gateways; None for none.
        pages: Makes the pages of an environment.
        migrate: Migrate the databases first.
        ends: One that is away is not waited for: the process ends when nothing is left to do.
    """

    def __init__(
        self,
        told: asyncio.Event,
        work: Work,
        settings: GatewaySettings | None = None,
        pages: Callable[[Session], Pages] | None = None,
        *,
        migrate: bool = False,
        ends: bool = False,
    ) -> None:
        self._told = told
        self._work = work
        self._settings = settings
        self._pages = pages
        self._migrate = migrate
        self._ends = ends
        self._front: Environments | None = None
        self._address = ""
        self._at_work: set[str] = set()
        self._code = 0

    async def serve(self, sessions: Sequence[Session]) -> int:
        """Serve environments until the process is told to stop; returns the exit code.

        Args:
            sessions: One for each environment.

        Raises:
            UsageError: A service has the name of an environment.
        """
        _refuse_taken(sessions)
        async with AsyncExitStack() as stack:
            if self._settings is not None:
                await self._listen(self._settings, sessions, stack)
            ended = {_name(each): asyncio.Event() for each in sessions}
            duties = [
                Duty(f"serving {_name(each)}", partial(self._serve, each, ended[_name(each)]))
                for each in sessions
            ]
            async with on_duty(*duties):
                all_ended = asyncio.gather(*(each.wait() for each in ended.values()))
                told = asyncio.ensure_future(self._told.wait())
                await asyncio.wait([all_ended, told], return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                for name in ended.keys() - self._at_work:
                    ended[name].set()
                await all_ended
        return self._code

    async def _listen(
        self, settings: GatewaySettings, sessions: Sequence[Session], stack: AsyncExitStack
    ) -> None:
        from dama.gateway.environments import Environments
        from dama.gateway.own_token import NAME, note_address
        from dama.gateway.server import listening

        names, home = [_name(each) for each in sessions], sessions[0].config().home
        self._front = Environments(names, settings.environment_path)
        self._address = await stack.enter_async_context(listening(self._front, settings))
        note_address(home, self._address)
        for name in names:
            echo(f"{name}: {self._address}/{name}/ and {self._address}/api/{name}", err=True)
        if settings.needs_tokens:
            echo(f"The token of this user for all of them is in {home / NAME}.", err=True)

    async def _serve(self, session: Session, ended: asyncio.Event) -> None:
        """Serve one environment, as long as its database can be used."""
        name = _name(session)
        about(environment=name)
        try:
            code = await self._served(session, name)
        except DamaError as error:
            if not self._ends:
                message = f"The environment {name} is away: {in_words(error)}"
                raise AwayError(message, error.hint) from error
            echo(f"The environment {name} is away: {error.message}", err=True)
            code = UNREACHED
        finally:
            self._at_work.discard(name)
            if self._told.is_set():
                ended.set()
        self._code = self._code or code
        ended.set()

    async def _served(self, session: Session, name: str) -> int:
        if self._migrate:
            from dama.store import schema

            await schema.migrate(session.url())
        async with AsyncExitStack() as stack:
            opened = session.app(with_services=True, patience=0)
            app = await stack.enter_async_context(opened)
            if session.is_in_cluster:
                await app.broker()  # others may call its actions
            if self._settings is not None and self._front is not None:
                from dama.gateway.server import gateway_of, noting

                app.gateway_url = app.gateway_url or f"{self._address}/{name}"
                site = None if self._pages is None else self._pages(session)
                gateway = await gateway_of(app, self._settings, site)
                await stack.enter_async_context(on_duty(noting(app)))
                stack.enter_context(self._front.served(name, gateway.application()))
            self._at_work.add(name)
            return await self._work(session, app)


def _name(session: Session) -> str:
    return session.config().environment or ""


def _refuse_taken(sessions: Sequence[Session]) -> None:
    """`/api/NAME` is either an environment or a service."""
    services = sessions[0].registry().services
    if taken := sorted({_name(each) for each in sessions} & services.keys()):
        raise UsageError(
            f"{taken[0]} is a service and an environment: /api/{taken[0]} can be only one of them.",
            "Give the environment another name.",
        )
