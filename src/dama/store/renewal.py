"""Renewals of a lease from a thread: one connection, made again when it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from dama.store import session
from dama.store.errors import translate_own
from dama.store.queue import Renewal
from dama.store.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dama.store.database import Database


class Renewer:
    """Renews the lease of one worker.

    Args:
        database: Where it is kept.
        params: Gives the params of the statement `renew_lease`, as they are now.
    """

    def __init__(self, database: Database, params: Callable[[], Mapping[str, Any]]) -> None:
        self._database = database
        self._params = params
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def renew(self) -> Renewal:
        """Renew once.

        Raises:
            DatabaseUnreachableError: The database does not answer; the next call connects anew.
        """
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._database.conninfo,
                    autocommit=True,
                    application_name="dama lease",
                    client_encoding="UTF8",
                    prepare_threshold=self._database.prepare_threshold,
                )
                session.begin_plainly_blocking(self._connection)
                if not self._database.is_pooled:
                    session.pin_blocking(self._connection)
            row = self._renewed(self._connection)
        except psycopg.Error as error:
            self.close()
            raise translate_own(error) or error from error
        if row is None:
            return Renewal(None, work=False, next_due=None, next_firing=None)
        return Renewal(*row)

    def _renewed(self, connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[Any, ...] | None:
        if not self._database.is_pooled:
            return connection.execute(statement("renew_lease"), self._params()).fetchone()
        with connection.transaction():
            session.pin_transaction_blocking(connection)
            return connection.execute(statement("renew_lease"), self._params()).fetchone()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
