"""The source: what a tap writes, kept as it came, and taken up to one STATE after the other."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from dama.errors import DamaError
from dama.taps.messages import Message, TapError, as_json, message_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dama.taps.process import Process

MOST = 100_000  # messages that are kept
MOST_BYTES = 32 * 1024 * 1024
FIRST_PAUSE = 0.5  # seconds between commits, twice as long each time
LONGEST_PAUSE = 10.0
LOOK_SECONDS = 0.2


class TapFailedError(DamaError):
    """A tap ended with an error; what it had extracted up to its last STATE is loaded.

    Attributes:
        ended: Its exit code; negative for a signal.
    """

    code = "TAP_FAILED"

    def __init__(self, name: str, ended: int) -> None:
        self.ended = ended
        how = f"was killed by signal {-ended}" if ended < 0 else f"ended with exit code {ended}"
        super().__init__(f"{name} {how}. What it had written up to its last STATE is loaded.")


class Source:
    """The messages of a tap, up to one state after the other.

    Args:
        process: Of the tap.
        state: Where it continues, as JSON.

    Attributes:
        state: The last state of what was taken, as JSON.
        error: Why nothing comes any more; None while it runs, or has ended well.
    """

    def __init__(self, process: Process, state: str) -> None:
        self.state = state
        self.error: DamaError | None = None
        self._process = process
        self._kept = deque[Message]()
        self._bytes = 0
        self._states = 0
        self._is_over = False
        self._pause = FIRST_PAUSE
        self._due = time.monotonic() + self._pause

    def fill(self) -> bool:
        """Read until there is enough for a commit; whether there is anything to commit."""
        while not self._is_over and not self._is_full() and not self._is_due():
            self._read()
        return bool(self._states) or (bool(self._kept) and self.error is None)

    def until_state(self) -> Iterator[list[Message]]:
        """What is kept, up to its last state; without one more is read, until one comes.

        Raises:
            DamaError: The tap has failed, and there is none.
        """
        while not self._states and not self._is_over:
            yield self._taken(len(self._kept))
            while not self._is_over and not self._is_full() and not self._states:
                self._read()
        if self.error is not None and not self._states:
            raise self.error
        if self._is_over and self.error is None:
            yield self._taken(len(self._kept))
        else:
            last = max(i for i, each in enumerate(self._kept, 1) if each.type == "STATE")
            yield self._taken(last)

    def is_committed(self) -> None:
        """What was taken is in the database."""
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._due = time.monotonic() + self._pause

    def _taken(self, count: int) -> list[Message]:
        taken = [self._kept.popleft() for _ in range(count)]
        for message in taken:
            self._bytes -= message.size
            if message.type == "STATE":
                self._states -= 1
                self.state = as_json(message.value)
        return taken

    def _read(self) -> None:
        try:
            lines = self._process.lines(LOOK_SECONDS)
            if lines is None:
                self._is_over = True
                if code := self._process.wait():
                    self.error = TapFailedError(self._process.name, code)
                return
            for line in lines:
                message = message_of(line)
                self._kept.append(message)
                self._bytes += message.size
                self._states += message.type == "STATE"
        except TapError as error:
            self._is_over, self.error = True, error

    def _is_full(self) -> bool:
        return len(self._kept) >= MOST or self._bytes >= MOST_BYTES

    def _is_due(self) -> bool:
        return bool(self._states) and time.monotonic() >= self._due
