"""What can be done with recorded history: export and import it, fold it, hold code against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from dama.broker.errors import ClientCallError
from dama.definitions.service import Service
from dama.domain.exact import document
from dama.operations import bundles, checks, forks, slices, whatif
from dama.operations.who import because
from dama.shipped.documents import Id, permit_context, starter
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dama.app import App
    from dama.broker.call import Call
    from dama.broker.stream import Stream

Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200)]
Keys = Literal["task", "status", "service", "user", "schedule"]


class NoBundleError(ClientCallError):
    """An import came without its file."""

    name = "ValidationError"
    status = 422
    code = "NO_BUNDLE"


def add_bundles(service: Service, app: App) -> None:
    """Give the service `contexts` its export, its import, and what other reducers would change."""

    @service.action(
        scope="viewer", timeout=0, rest="GET /:context_id/export",
        response_type="application/octet-stream",
    )  # fmt: skip
    async def export(
        call: Call,
        context_id: Id,
        *,
        format: bundles.Format = "bundle",
        slices: list[str] | None = None,
        logs: bool = False,
        artifacts: bool = False,
    ) -> Any:
        """Give a context with all below it as a file; `import_run` brings a bundle in.

        Args:
            context_id: Which.
            format: bundle, parquet with a row for each event, or redux-devtools for one context.
            slices: With redux-devtools: the slices to show; all that are known by default.
            logs: Include the last MiB of each log of a program on the host of this node.
            artifacts: Also the files that programs left there.
        """
        await permit_context(app, call, context_id)
        wanted = bundles.Wanted(format, tuple(slices or ()), logs=logs, artifacts=artifacts)
        chunks = await bundles.export_chunks(app, context_id, wanted)
        name = f"{context_id}{bundles.SUFFIXES[format]}"
        call.meta["$responseHeaders"] = {"Content-Disposition": f'attachment; filename="{name}"'}
        return chunks

    @service.action(scope="admin", timeout=0)
    async def import_run(call: Call, *, again: bool = False, reason: str | None = None) -> Any:
        """Bring the contexts of a bundle, which is the stream of the call, into this database.

        Args:
            again: Import what is here already again, as further contexts.
            reason: The reason; it is kept in the events.
        """
        if call.stream is None:
            raise NoBundleError(
                "There is no bundle: it is the stream of the call.",
                "Over HTTP it is the body: POST /api/contexts/import.",
            )
        by = because(starter(call), reason)
        chunks = _bytes(call.stream)
        return document(await bundles.import_chunks(app, chunks, again=again, by=by))

    @service.action(scope="admin", timeout=0, rest="POST /whatif")
    async def what_if(
        call: Call,
        slice: str,
        module: Module,
        *,
        contexts: list[Id] | None = None,
        sample: Annotated[int, Field(ge=1)] = whatif.SAMPLE,
    ) -> Any:
        """Fold history with the reducers of another module of this node, and show what differs.

        Args:
            slice: The name of the slice.
            module: What defines it otherwise; it is imported in a process of its own.
            contexts: Only these.
            sample: How many of the latest contexts.
        """
        found = await whatif.what_if(
            app, slice, whatif.Code.today(app.registry), whatif.Code.of(module),
            contexts=contexts, sample=sample,
        )  # fmt: skip
        return document(found)


def add_replays(service: Service, app: App) -> None:
    """Give the service `tasks` its check against records, and forks of many contexts."""

    @service.action(scope="admin", timeout=0, rest="POST /:name/check")
    async def check(
        call: Call,
        name: str,
        *,
        sample: Annotated[int, Field(ge=1)] = checks.SAMPLE,
        seconds: Annotated[float, Field(ge=0.1)] = checks.SECONDS,
    ) -> Any:
        """Hold the code of a task, as this node has it, against what its runs have recorded.

        Args:
            name: The full name of the task.
            sample: How many runs at most.
            seconds: In which the code must come to the end of one record.
        """
        return document(await checks.check(app, name, sample=sample, seconds=seconds))

    @service.action(scope="operator", timeout=0, rest="POST /fork")
    async def fork_all(
        call: Call,
        where: dict[Keys, str],
        step: str,
        *,
        params: dict[str, Any] | None = None,
        limit: Annotated[int, Field(ge=1)] = 1000,
        reason: str | None = None,
    ) -> Any:
        """Fork all contexts that are like this and have no fork yet, before a step of theirs.

        Args:
            where: What they are like: task, status, service, user, schedule.
            step: The key of the step.
            params: Other values of params.
            limit: How many at most.
            reason: The reason; it is kept in the events.
        """
        asked: dict[str, Any] = {**where}
        chosen = ContextFilter(**asked)
        by = because(starter(call), reason)
        return document(await forks.fork_all(app, chosen, step, params=params, by=by, limit=limit))


def slices_service(app: App) -> Service:
    """Make the service `slices`."""
    service = Service("slices", description="Keep states of slices as tables.")

    @service.action(scope="viewer", rest="GET /")
    async def list(call: Call) -> Any:
        """List the slices that are kept as tables, and how far each is behind."""
        return document(await slices.tables(app))

    @service.action(scope="operator", timeout=0, rest="POST /:name")
    async def materialise(call: Call, name: str, *, rebuild: bool = False) -> Any:
        """Fold all that is committed now into the table of a slice; made unless there is one.

        Args:
            name: Of the slice.
            rebuild: Fold everything again; the old rows stay until that is done.
        """
        build = await slices.begin(app, name, rebuild=rebuild)
        return document(await slices.materialise(app, build))

    @service.action(scope="operator", timeout=0, rest="DELETE /:name")
    async def drop(call: Call, name: str, reason: str | None = None) -> Any:
        """Keep a slice no longer as a table, and remove its rows; its events stay.

        Args:
            name: Of the slice.
            reason: The reason; it is kept with the name of the caller.
        """
        return document(await slices.drop(app, name, by=because(starter(call), reason)))

    return service


async def _bytes(stream: Stream) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield chunk.encode() if isinstance(chunk, str) else bytes(chunk)
