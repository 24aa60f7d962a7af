"""Doing: what an async function does by its task as steps: functions, transactions, chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from dama.run.asks import Asks, asked
from dama.run.calls import call_action
from dama.run.facts import RunFacts
from dama.run.given import check_step, check_text
from dama.run.reads import random_number, random_uuid, time_of
from dama.run.steps import do_step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime
    from uuid import UUID

    from dama.broker.call import CallOptions

P = ParamSpec("P")
V = TypeVar("V")


class Doing(RunFacts):
    """The steps of a run."""

    @property
    def asks(self) -> Asks:
        """What it was asked and has not answered."""
        return self._execution.asks

    @overload
    async def step(
        self,
        name: str,
        function: Callable[P, Coroutine[Any, Any, V]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    @overload
    async def step(
        self, name: str, function: Callable[P, V], /, *args: P.args, **kwargs: P.kwargs
    ) -> V: ...

    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, V]],
        /,
        *args: Any,
        transactional: bool,
        **kwargs: Any,
    ) -> V: ...

    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., V],
        /,
        *args: Any,
        transactional: bool,
        **kwargs: Any,
    ) -> V: ...

    @asked
    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        transactional: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Do a part of the run once; later runs get its result from its event.

        A type checker holds the arguments against the function. Written with `transactional=True`
        it is `transaction`, without that.

        Args:
            name: Of the step; a name that comes again gets #2, #3.
            function: What to do. A `def` runs in a thread.
            *args: For the function.
            transactional: See `transaction`.
            **kwargs: For the function.

        Returns:
            What the function returned, as it comes back from JSON by its return annotation.
        """
        check_step("task.step", name, function)
        return await do_step(
            self._execution, name, function, *args, transactional=transactional, **kwargs
        )

    @overload
    async def transaction(
        self,
        name: str,
        function: Callable[Concatenate[Any, P], Coroutine[Any, Any, V]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    @overload
    async def transaction(
        self,
        name: str,
        function: Callable[Concatenate[Any, P], V],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    @asked
    async def transaction(
        self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Do a step in a transaction that commits together with its event: exactly once.

        Where it gives way to another transaction (a deadlock, a serialization failure, two that
        make the same table at once), nothing of it is left; it is done again, up to ten times,
        and none of the step's `retries` is spent.

        Args:
            name: Of the step; a name that comes again gets #2, #3.
            function: Gets a connection of psycopg before `args`: an asynchronous one when it is an
                `async def`. A `def` runs in a thread.
            *args: For the function, after the connection.
            **kwargs: For the function.

        Returns:
            What the function returned, as it comes back from JSON by its return annotation.
        """
        check_step("task.transaction", name, function)
        return await do_step(self._execution, name, function, *args, transactional=True, **kwargs)

    @asked
    async def call(
        self,
        action: str,
        params: Any = None,
        *,
        name: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an action of a service, here or on another node, as a step.

        Once it has answered, later runs get the answer from its event. It may be called again
        when the worker dies before; `idempotency_key` in the meta of the call is the same then.

        Args:
            action: The full name, such as `mailer.send`.
            params: What it takes.
            name: Of the step; by default that of the action.
            **options: timeout, retries, meta and so on: see `dama.broker.call.CallOptions`.

        Raises:
            CallError: What the action failed with; the event of the step has the same.
        """
        check_text("task.call", "name of an action", action)
        return await call_action(self._execution, action, params, name, **options)

    @asked
    async def now(self) -> datetime:
        """The time, by the clock of the database; a later run gets the same."""
        return await do_step(self._execution, "now", time_of, self._execution, transactional=False)

    @asked
    async def random(self) -> float:
        """A number by chance, at least 0 and below 1; a later run gets the same."""
        return await do_step(self._execution, "random", random_number, transactional=False)

    @asked
    async def uuid4(self) -> UUID:
        """A new UUID; a later run gets the same."""
        return await do_step(self._execution, "uuid4", random_uuid, transactional=False)
