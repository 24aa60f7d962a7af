"""Renewals of a lease from a thread: one connection, made again when it is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg

from dama.store import session
from dama.store.connecting import connect_prompt_blocking
from dama.store.queue_rows import Renewal
from dama.store.rights import rights_named
from dama.store.statements import statement
from dama.store.translation import translate_own

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dama.store.database import Database

MOST_UPHELD = 500  # runs at once: a batch takes a small part of a lease


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
            DatabaseUnreachableError: The database does not answer; the next call connects again.
        """
        try:
            if self._connection is None:
                self._connection = connect_prompt_blocking(
                    self._database.conninfo,
                    autocommit=True,
                    application_name="dama lease",
                    client_encoding="UTF8",
                    prepare_threshold=self._database.prepare_threshold,
                )
                session.begin_plainly_blocking(self._connection)
                if not self._database.is_pooled:
                    session.pin_blocking(self._connection, alone=True)
            with rights_named(self._database.role or self._connection.info.user):
                return self._kept(self._connection)
        except psycopg.Error as error:
            self.close()
            raise translate_own(error) or error from error

    def _kept(self, connection: psycopg.Connection[tuple[Any, ...]]) -> Renewal:
        """Renew; when something is due, do a batch of it, and renew again."""
        renewal = self._renewed(connection)
        if renewal.gone is None or renewal.next_due is None or renewal.next_due > 0:
            return renewal
        (done,) = self._row(connection, "uphold", {"most": MOST_UPHELD}) or (0,)
        again = self._renewed(connection)
        gone = None if again.gone is None else sorted({*renewal.gone, *again.gone})
        # What others have locked is left to the next second.
        return replace(again, gone=gone, next_due=again.next_due if done else None)

    def _renewed(self, connection: psycopg.Connection[tuple[Any, ...]]) -> Renewal:
        row = self._row(connection, "renew_lease", self._params())
        if row is None:
            return Renewal(None, work=False, next_due=None, next_firing=None)
        return Renewal(*row)

    def _row(
        self, connection: psycopg.Connection[tuple[Any, ...]], name: str, params: Mapping[str, Any]
    ) -> tuple[Any, ...] | None:
        if not self._database.is_pooled:
            return connection.execute(statement(name), params).fetchone()
        with connection.transaction():
            session.pin_transaction_blocking(connection, alone=True)
            return connection.execute(statement(name), params).fetchone()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
