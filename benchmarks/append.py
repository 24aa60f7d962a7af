"""Appends through the function against plain INSERTs of the same rows, by pgbench, in turns.

One connection, one server with fsync on, tables with the same columns and indexes. Targets: an
append costs at most 2 times an INSERT; batches of 100 reach at least 40 % of batched INSERTs.
"""

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from dama.embedded import EmbeddedPostgres
from dama.store import schema

ROUNDS = 5
SECONDS = 3
BATCH = 100
OPTIONS = ("-n", "-M", "prepared", "-c", "1", "-T", str(SECONDS))

PEER = """
CREATE SEQUENCE plain_version;
CREATE TABLE plain (LIKE _data_manager_admin.event_store_prototype INCLUDING ALL);
"""
SCRIPTS = {
    "plain INSERT": """
INSERT INTO plain (etl_context_id, type, payload, version)
VALUES (1, 'rows/loaded', '{"rows": 7}', nextval('plain_version'));
""",
    "append": """
SELECT * FROM _data_manager_admin.append_events(
  '[{"context_id": 1, "event": {"type": "rows/loaded", "payload": {"rows": 7}}}]');
""",
    "plain batch": "INSERT INTO plain (etl_context_id, type, payload, version) VALUES\n"
    + ",\n".join(["(1, 'rows/loaded', '{\"rows\": 7}', nextval('plain_version'))"] * BATCH)
    + ";",
    "append batch": "SELECT count(*) FROM _data_manager_admin.append_events('["
    + ",".join(
        ['{"context_id": 1, "event": {"type": "rows/loaded", "payload": {"rows": 7}}}'] * BATCH
    )
    + "]');",
}


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            asyncio.run(schema.migrate(url))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(PEER)
                connection.execute(
                    "SELECT * FROM _data_manager_admin.start_contexts("
                    """'[{"task": "a.b", "event": {"type": "a.b:INITIAL"}}]')"""
                )
            rates = _measure(server, Path(folder))
        finally:
            server.stop()
    _report(rates)
    return 0


def _measure(server: EmbeddedPostgres, folder: Path) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for name, script in SCRIPTS.items():
        (folder / f"{name}.sql").write_text(script)
    for _ in range(ROUNDS):
        for name, rates in found.items():
            rates.append(_pgbench(server, folder / f"{name}.sql"))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _pgbench(server: EmbeddedPostgres, script: Path) -> float:
    done = subprocess.run(
        [server.binaries / "pgbench", *OPTIONS, "-f", script, server.url],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"tps = ([\d.]+)", done.stdout)
    if match is None:
        raise ValueError(f"pgbench printed no tps: {done.stdout}")
    return float(match.group(1))


def _report(rates: dict[str, float]) -> None:
    cost = rates["plain INSERT"] / rates["append"]
    share = rates["append batch"] / rates["plain batch"]
    print(f"an append costs {cost:.2f} times a plain INSERT (target: at most 2)")
    print(f"batches of {BATCH}: {share:.0%} of plain batched INSERTs (target: at least 40 %)")


if __name__ == "__main__":
    sys.exit(main())
