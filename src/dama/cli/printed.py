"""What runs print or log, shown between the events of their contexts while they run here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from dama.cli.board import Board, payload_of, split_type
from dama.programs.output import Output, output_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dama.app import App
    from dama.cli.lines import Lines, Silent
    from dama.cli.live import LiveBoard
    from dama.domain.event import StoredEvent

LOOK_SECONDS = 0.1
OVER = {"STARTED", "LOST", "RETRYING", "ERROR", "CANCELLED", "FINAL"}


class Printed:
    """Shows the output of the programs of a tree.

    Args:
        app: Where they run.
        board: What is known of the tree.
        display: Where it is shown.
    """

    def __init__(self, app: App, board: Board, display: Lines | LiveBoard | Silent) -> None:
        self._app = app
        self._board = board
        self._display = display
        self._params: dict[int, Mapping[str, Any]] = {}
        self._outputs: dict[int, Output] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show what comes until the end of the block, and then the rest."""
        looking = asyncio.create_task(self._look_always())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        await self._show(over=set(self._outputs))

    async def show_event(self, event: StoredEvent) -> None:
        """Show an event, behind all that was printed before it."""
        suffix = split_type(event.type)[1]
        if suffix == "INITIAL":
            self._params[event.context_id] = payload_of(event)
        elif suffix in OVER:
            await self._show(over={event.context_id})
        self._display.show(event)
        params = self._params.get(event.context_id, {})
        app = self._app
        if found := await output_of(event, params, app.store, app.registry, app.home):
            self._outputs[event.context_id] = found

    async def _look_always(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._show()

    async def _show(self, over: set[int] | None = None) -> None:
        """Show what is new; in a thread, since it may be much and its reader slow."""
        async with self._turn:
            if self._outputs:
                await asyncio.to_thread(self._show_all, over or set())

    def _show_all(self, over: set[int]) -> None:
        for context_id, output in list(self._outputs.items()):
            row = self._board.rows[context_id]
            for line in output.rest() if context_id in over else output.news():
                self._display.show_output(row, line)
            if context_id in over:
                del self._outputs[context_id]
