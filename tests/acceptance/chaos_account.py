"""The account of `make chaos`: what must be there once, is there once."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.acceptance.chaos_project import TICKS, contexts_of_wave, result_of_wave

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

CONTEXTS = """
SELECT task, status, count(*) FROM _data_manager_admin.etl_context GROUP BY 1, 2 ORDER BY 1, 2
"""
NOT_ONCE = """
SELECT c.context_id, c.task, e.initials, e.finals
  FROM _data_manager_admin.etl_context AS c
  JOIN LATERAL (SELECT count(*) FILTER (WHERE type LIKE '%:INITIAL') AS initials,
                       count(*) FILTER (WHERE type LIKE '%:FINAL') AS finals
                  FROM _data_manager_admin.event_store_prototype AS e
                 WHERE e.etl_context_id = c.context_id) AS e ON true
 WHERE (e.initials, e.finals) <> (1, 1)
"""
OPEN = """
SELECT c.context_id, c.task, c.status, q.state, c.epoch,
       (SELECT string_agg(type, ' ' ORDER BY version)
          FROM (SELECT type, version FROM _data_manager_admin.event_store_prototype
                 WHERE etl_context_id = c.context_id ORDER BY version DESC LIMIT 4) AS last)
  FROM _data_manager_admin.etl_context AS c
  LEFT JOIN _data_manager_admin.run_queue AS q USING (context_id)
 WHERE c.status IS DISTINCT FROM 'DONE'
"""
FINALS = """
SELECT c.context_id, c.task, e.payload
  FROM _data_manager_admin.etl_context AS c
  JOIN _data_manager_admin.event_store_prototype AS e ON e.etl_context_id = c.context_id
 WHERE e.type = 'chaos.wave:FINAL'
"""
ROWS = """
SELECT c.context_id, c.task, count(r.context_id)
  FROM _data_manager_admin.etl_context AS c LEFT JOIN rows_of_steps AS r USING (context_id)
 WHERE c.task IN ('chaos.loop', 'chaos.thread', 'chaos.apart')
 GROUP BY 1, 2 HAVING count(r.context_id) <> 1
"""
STEPS = """
SELECT etl_context_id, type, meta ->> 'key', count(*)
  FROM _data_manager_admin.event_store_prototype
 WHERE type LIKE '%:DONE' GROUP BY 1, 2, 3 HAVING count(*) > 1
"""
TOLD = """
SELECT c.context_id, array_agg(e.payload ORDER BY e.version) FILTER (WHERE e.type = 'tick')
  FROM _data_manager_admin.etl_context AS c
  JOIN _data_manager_admin.event_store_prototype AS e ON e.etl_context_id = c.context_id
 WHERE c.task = 'chaos.ticks' GROUP BY 1
"""


@dataclass
class Account:
    """What was counted, and what is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """For a person."""
        counts = [f"{count:8} {name}" for name, count in sorted(self.counts.items())]
        return [*counts, *(f"FAULT: {fault}" for fault in self.faults)]


def account_of(
    connection: psycopg.Connection[tuple[object, ...]], ledger: Path, waves: int, size: int
) -> Account:
    """Count what there is when all should have ended."""
    account = Account()
    for task, status, count in connection.execute(CONTEXTS):
        account.counts[f"{task} {status}"] = count
    wanted = waves * contexts_of_wave(size)
    found = sum(account.counts.values())
    stuck = connection.execute(OPEN).fetchall()
    _add(account, "stuck or failed", stuck)
    if not stuck and found != wanted:  # a wave that is stuck has not started all of its subtasks
        account.faults.append(f"lost or doubled contexts: {found}, not {wanted}")
    _add(account, "without one INITIAL and one FINAL", connection.execute(NOT_ONCE).fetchall())
    _add(account, "steps without one row", connection.execute(ROWS).fetchall())
    _add(account, "steps recorded twice", connection.execute(STEPS).fetchall())
    ((left,),) = connection.execute("SELECT count(*) FROM _data_manager_admin.run_queue")
    _add(account, "left in the queue", [left] if left else [])
    wrong = [
        (context, payload)
        for context, _, payload in connection.execute(FINALS)
        if payload != result_of_wave(size)
    ]
    _add(account, "waves with a wrong result", wrong)
    told = connection.execute(TOLD).fetchall()
    _add(account, "events of programs", [t for t in told if t[1] != list(range(TICKS))])
    runs = {context: (ledger / str(context)).read_text().split() for context, _ in told}
    _add(account, "programs that ran twice", [run for run in runs.items() if len(run[1]) != 1])
    account.counts["events of programs, each once and in order"] = sum(
        len(ticks or ()) for _, ticks in told
    )
    account.counts["stuck, doubled or lost"] = len(account.faults)
    return account


def _add(account: Account, what: str, rows: list[object]) -> None:
    account.faults += [f"{what}: {json.dumps(row, default=str)}" for row in rows[:20]]
    if len(rows) > 20:
        account.faults.append(f"{what}: {len(rows)} in all")
