"""The service in Python that the nodes of Moleculer call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from dama import Service
from dama.broker.errors import CallError, ClientCallError
from dama.broker.stream import Stream

if TYPE_CHECKING:
    from dama.broker.call import Call


class Parcel(BaseModel):
    """A model with bytes that are no text."""

    data: bytes
    tags: set[bytes]


class MuteError(Exception):
    """One that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


ODD_ERRORS = {
    "surrogate": lambda: ValueError("the file \udcff is gone"),
    "mute": MuteError,
    "circle": lambda: CallError("in a circle", code="ROUND", data=circle()),
    "nan": lambda: CallError("no number", data=[float("nan")]),
    "huge": lambda: CallError("x" * 3_000_000),
    "status": lambda: CallError("odd", status=object(), code=object()),
}
ODD_CHUNKS: dict[str, Any] = {
    "nan": {"i": float("nan")},
    "surrogate": {"name": "\ud83d"},
    "large": {"x": "y" * 2_000_000},
    "circle": circle(),
}


def py_service(  # noqa: C901, PLR0915 - a list of actions
    heard: list[dict[str, Any]], name: str = "py"
) -> Service:
    """A service as that of node.js."""
    service = Service(
        name,
        settings={"shown": 1, "password": "secret", "$secureSettings": ["password"]},
        metadata={"team": "data"},
    )

    @service.action
    async def echo(call: Call) -> Any:
        return call.params

    @service.action
    async def who(call: Call) -> str:
        return call.broker.node_id

    @service.action(rest="POST /add", timeout=5)
    async def add(call: Call, a: float, b: float = 1) -> float:
        """Add two numbers."""
        return a + b

    @service.action(visibility="protected")
    async def hidden(call: Call) -> str:
        return "hidden"

    @service.action
    async def context(call: Call) -> dict[str, Any]:
        return {
            "level": call.level,
            "requestID": call.request_id,
            "parentID": call.parent_id,
            "caller": call.caller,
            "nodeID": call.node_id,
            "meta": call.meta,
            "timeout": call.timeout,
            "headers": call.headers,
        }

    @service.action
    async def leave(call: Call) -> bool:
        call.meta["left"] = "by python"
        return True

    @service.action(name="failLeaving")
    async def fail_leaving(call: Call) -> None:
        call.meta["left"] = "by python"
        raise ClientCallError("no", status=409, code="IN_USE", data={"table": "flights"})

    @service.action
    async def plain(call: Call) -> None:
        raise TypeError("a bug")

    @service.action
    async def ends(call: Call) -> None:
        """End with what is no Exception, which would end a task or the process."""
        raise {"cancel": asyncio.CancelledError, "exit": SystemExit, "keys": KeyboardInterrupt}[
            call.params["how"]
        ]

    @service.action
    async def objects(call: Call) -> Any:
        """JSON values; nobody says of what kind the stream is."""
        for i in range(call.params["count"]):
            yield {"i": i}

    @service.action
    async def mixed(call: Call) -> Any:
        yield b"bytes"
        yield {"and": "objects"}

    @service.action(name="cancelledStream")
    async def cancelled_stream(call: Call) -> Any:
        yield b"one"
        raise asyncio.CancelledError

    @service.action
    async def large(call: Call) -> Any:
        # Text is as large to its reader as bytes are, and encoded in no time.
        chunk = "x" if call.params.get("text") else b"x"
        for _ in range(call.params["count"]):
            yield chunk * 65536

    @service.action(name="failsOddly")
    async def fails_oddly(call: Call) -> None:
        """Fail with what no packet can hold as it is."""
        error = ODD_ERRORS[call.params["how"]]()
        raise error

    @service.action(name="breaksOddly")
    async def breaks_oddly(call: Call) -> Any:
        """A stream of two chunks, of which no packet can hold the second or the error."""
        yield {"i": 0}
        if (chunk := ODD_CHUNKS.get(call.params["how"])) is not None:
            yield chunk
        error = ODD_ERRORS["surrogate"]()
        raise error

    @service.action(name="mixedObjects")
    async def mixed_objects(call: Call) -> Any:
        for chunk in ({"b": b"\xff"}, [1], "text", 0, False, ""):
            yield chunk

    @service.action(name="nullChunk")
    async def null_chunk(call: Call) -> Any:
        yield {"i": 0}
        yield None

    @service.action(name="longText")
    async def long_text(call: Call) -> Any:
        yield "\x01é" * 400_000

    @service.action(name="fullChunks")
    async def full_chunks(call: Call) -> Any:
        """Chunks that are as large in JSON as chunks can be."""
        call.headers["long"] = "x" * 50_000
        yield call.params["chunk"] * 300_000

    @service.action
    async def endless(call: Call) -> Any:
        try:
            while True:
                yield b"x" * call.params["bytes"]
                await asyncio.sleep(call.params["pause"])
        finally:
            heard.append({"event": "closed"})

    @service.action(name="leaveBytes")
    async def leave_bytes(call: Call) -> Any:
        call.meta["bytes"] = b"\xff\x00"
        if call.params.get("fail"):
            raise CallError("no", data={"bytes": b"\xfe"})
        return Parcel(data=b"\xfd", tags={b"\xfc"})

    @service.action
    async def traced(call: Call) -> object:
        return await call.call("js.traced") if call.params.get("on") else call.tracing

    @service.action
    async def optional(
        call: Call,
        sender: Annotated[str, Field(alias="from")],
        limit: int = 5,
        to: str | None = "x",
    ) -> list[Any]:
        """Params of which one has a name that Python keeps for itself."""
        return [sender, limit, to]

    @service.action(name="takesBytes")
    async def takes_bytes(call: Call, data: bytes) -> bytes:
        return data[::-1]

    @service.action
    async def slow(call: Call) -> None:
        await asyncio.sleep(call.params["ms"] / 1000)

    @service.action
    async def chain(call: Call) -> list[int]:
        n, other = call.params["n"], "js.chain"
        if n == 0:
            return [call.level]
        below = await call.call(other, {"n": n - 1, "other": f"{name}.chain"})
        return [call.level, *below]

    @service.action
    async def big(call: Call) -> str:
        return "x" * call.params["bytes"]

    @service.action
    async def numbers(call: Call):
        for i in range(call.params["count"]):
            yield f"{i}\n".encode()

    @service.action
    async def rows(call: Call) -> Stream:
        async def each():
            for i in range(call.params["count"]):
                yield {"i": i}

        return Stream(each(), object_mode=True)

    @service.action
    async def breaks(call: Call):
        yield b"one"
        raise CallError("broken", code="BROKEN", data={"at": 1})

    @service.action
    async def upload(call: Call) -> dict[str, Any]:
        assert call.stream is not None
        return {"text": (await call.stream.read()).decode(), "meta": call.meta}

    @service.action
    async def ignore(call: Call) -> int:
        heard.append({"event": "ignored"})
        return len(heard)

    @service.action
    async def unsendable(call: Call) -> object:
        return {"at": object()}

    def hear(call: Call) -> None:
        heard.append(
            {
                "event": call.name,
                "payload": call.params,
                "type": call.event_type,
                "meta": call.meta,
                "level": call.level,
                "requestID": call.request_id,
                "caller": call.caller,
                "sender": call.node_id,
                "by": call.broker.node_id,
            }
        )

    service.on("thing.*")(hear)
    service.on("deep.**", group="others")(hear)
    service.on("shared", group="shared-group")(hear)
    service.on("$node.*")(hear)
    return service
