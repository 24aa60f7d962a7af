"""The right to run undeclared commands: `dama run -- CMD` of the worker's own user, nobody else's.

A row in the queue says what to run, not that it may be run: whoever can write to the database,
holds a token or is on the bus could have put it there. So the user of a worker has a key in
DAMA_HOME. A start is signed with it, over all that decides what is executed and over the start
itself; a worker checks the proof and executes nothing without it. A proof is valid for one context:
a copy of its row is refused. Runs ask for the label of their key, so that other workers leave them
alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dama.config.private_file import make_private, read_private, write_private
from dama.definitions.errors import UndeclaredCommandError
from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dama.store import Start

KEY_BYTES = 32
PROOF = "proof"
LABEL = "commands:"  # and the hash of the key


class Commands:
    """The right of one user to have undeclared commands run.

    Args:
        home: The folder of dama's files of that user.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "commands.key"
        self._used = home / "commands"

    def label(self) -> str:
        """What workers with the key offer, and what signed runs ask for.

        Raises:
            PrivateFileError: Somebody else may know the key.
        """
        return f"{LABEL}{hashlib.sha256(self._key()).hexdigest()[:16]}"

    def signed(self, start: Start) -> Start:
        """A start of an undeclared command, with the proof that it may be run.

        Raises:
            PrivateFileError: Somebody else may know the key.
        """
        nonce = secrets.token_hex(16)
        start_key = start.key or f"command/{nonce}"
        proof = {"nonce": nonce, "mac": self._mac(start.params, start_key, nonce)}
        return replace(
            start,
            key=start_key,
            labels=sorted({*start.labels, self.label()}),
            meta={**(start.meta or {}), PROOF: proof},
        )

    def check(
        self,
        params: Mapping[str, Any],
        meta: Mapping[str, Json],
        start_key: str | None,
        context: str,
    ) -> None:
        """Refuse a run whose start was not signed by this user, or was signed for another context.

        Args:
            params: What would be executed.
            meta: Of the INITIAL.
            start_key: The idempotency key that the context has.
            context: Which it is, in which database.

        Raises:
            UndeclaredCommandError: It may not be run.
            PrivateFileError: Somebody else may know the key.
        """
        given: object = meta.get(PROOF)
        proof = as_object(given)
        nonce, mac = proof.get("nonce"), proof.get("mac")
        if not isinstance(nonce, str) or not isinstance(mac, str) or not start_key:
            raise _refused("its start has no proof")
        if not hmac.compare_digest(self._mac(params, start_key, nonce).encode(), mac.encode()):
            raise _refused("the proof of its start is not of this command by this user")
        if (known := self._context_of(nonce, context)) != context:
            raise _refused(f"the proof of its start was used before, for {known}")

    def _mac(self, params: Mapping[str, Any], start_key: str, nonce: str) -> str:
        # All params, not a list of them: what is added to them later decides as well.
        given = {name: value for name, value in params.items() if value is not None}
        signed = {"params": given, "start_key": start_key, "nonce": nonce}
        text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        key = read_private(self._path)
        if key is None:
            write_private(self._path, secrets.token_bytes(KEY_BYTES), replace=False)
            key = read_private(self._path) or b""
        if len(key) != KEY_BYTES:
            raise UndeclaredCommandError(
                f"{self._path} has {len(key)} bytes; expected {KEY_BYTES}.",
                "Remove it, so that a new one is made.",
            )
        return key

    def _context_of(self, nonce: str, context: str) -> str:
        """The context that a nonce was first used for: this one from now on, if for none."""
        make_private(self._used)
        path = self._used / hashlib.sha256(nonce.encode()).hexdigest()[:2]
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for line in file:
                known, _, of = line.rstrip("\n").partition(" ")
                if known == nonce:
                    return of
            file.write(f"{nonce} {context}\n")
            file.flush()
            os.fsync(file.fileno())
        return context


def _refused(why: str) -> UndeclaredCommandError:
    return UndeclaredCommandError(
        f"This worker does not run the command: {why}.",
        "Start it with `dama run -- COMMAND` as the user of the worker, with its DAMA_HOME; or "
        "declare it under [programs] of dama.toml.",
    )
