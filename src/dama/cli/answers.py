"""Answers of actions as they are printed: the same from this process as from any other node.

Code of an action that is served here may raise and return anything. What a caller on another node
would be told of it is told here, too.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from dama.cli.output import print_json
from dama.cli.terminal import echo_log
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from dama.broker.broker import Broker


async def print_answer(broker: Broker, action: str, params: Any, **options: Any) -> None:
    """Call an action and print what it returns: one JSON document, or a stream as it comes.

    Args:
        broker: Of this process.
        action: Its full name.
        params: What it takes.
        options: Of the call.

    Raises:
        CallError: It failed, or what it returned has no form in JSON.
    """
    from dama.broker.ended import is_told_to_end, of_code
    from dama.broker.errors import decode_error, encode_error
    from dama.broker.wire.values import as_json

    try:
        result = await broker.call(action, params, **options)
        if hasattr(result, "__aiter__"):
            await _print_stream(result)
            return
        as_json(result, "result")
    except DamaError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and is_told_to_end():
            raise
        document = encode_error(of_code(error, action), broker.node_id)
        raise decode_error(document, broker.node_id) from error
    print_json(result)


async def _print_stream(stream: AsyncIterable[Any]) -> None:
    async for chunk in stream:
        data = _chunk(chunk)
        if sys.stdout.isatty():
            echo_log(data.decode(errors="replace"), nl=False)
        else:
            sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _chunk(chunk: object) -> bytes:
    """A chunk as it is printed: bytes and strings as they are, others as lines of JSON."""
    from dama.broker.wire.values import as_json

    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, str):
        return chunk.encode(errors="backslashreplace")
    return as_json(chunk, "chunk") + b"\n"
