"""Access to NATS: who this node is there, and whom it believes to be the server.

Secrets come from files or the environment, and are shown in no message.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from dama.config.table import Table

KEY_FILES = {"nkeys_seed": "nkey_file", "user_credentials": "creds_file"}  # by the client's names


@dataclass(frozen=True)
class NatsAccess:
    """How a node joins the bus.

    Attributes:
        credentials: As the client takes them: user and password, a token, a seed or
            a credentials file.
        tls: How the server is checked; None for what the address and the server want.
    """

    credentials: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    tls: ssl.SSLContext | None = None


def read_access(table: Table) -> NatsAccess:
    """Read the settings of `[broker]` about NATS.

    Raises:
        InvalidDefinitionError: Two kinds of credentials are given, or a file cannot be used.
    """
    password = _secret(table, "password")
    token = _secret(table, "token")
    user = table.text("user")
    found: dict[str, dict[str, Any]] = {}
    if user is not None or password is not None:
        if user is None or password is None:
            raise InvalidDefinitionError(
                f"{table.where} has a user without a password, or a password without a user.",
                "Give user, and password_file or DAMA_BROKER_PASSWORD.",
            )
        found["user and password"] = {"user": user, "password": password}
    if token is not None:
        found["token"] = {"token": token}
    for name, key in KEY_FILES.items():
        if (path := _file(table, key)) is not None:
            found[key] = {name: str(path)}
    if len(found) > 1:
        raise InvalidDefinitionError(
            f"{table.where} has several credentials: {', '.join(found)}.", "Leave one of them."
        )
    chosen: dict[str, Any] = next(iter(found.values())) if found else {}
    return NatsAccess(chosen, _tls(table))


def _tls(table: Table) -> ssl.SSLContext | None:
    ca, cert, key = (_file(table, name) for name in ("ca_file", "cert_file", "key_file"))
    if not ca and not cert and not key:
        return None
    if key and not cert:
        table.wrong("cert_file", "the certificate of the key in key_file")
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if cert:
            # Without a password it fails, instead of asking at the terminal.
            context.load_cert_chain(str(cert), str(key) if key else None, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidDefinitionError(
            f"{table.where}: ca_file, cert_file or key_file cannot be used: {error}.",
            "They are PEM files; the key has no password.",
        ) from error
    return context


def _secret(table: Table, key: str) -> str | None:
    """A secret that is given itself, or in a file."""
    given: object = table.values.get(key)
    path = _file(table, f"{key}_file")
    if given is not None and not (isinstance(given, str) and given):
        raise InvalidDefinitionError(f"{table.where}.{key} must be a string that is not empty.")
    if path is None:
        return given
    if given is not None:
        raise InvalidDefinitionError(
            f"{table.where} has both {key} and {key}_file.", "Leave one of them."
        )
    text = path.read_text("utf-8-sig").strip()
    if not text:
        raise InvalidDefinitionError(f"{path} of {table.where}.{key}_file is empty.")
    return text


def _file(table: Table, key: str) -> Path | None:
    text = table.text(key)
    if text is None:
        return None
    path = Path(text).expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidDefinitionError(
            f"{path} of {table.where}.{key} cannot be read: {error.strerror}.",
            "Correct the path, or give the file to the user of this process.",
        ) from error
    return path
