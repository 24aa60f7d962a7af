from datetime import UTC, datetime, timedelta

import pytest

from dama.store import ContextRow

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "seconds"), [("OPEN", 3600), (None, 4), ("DONE", 4), ("ERROR", 4), ("CANCELLED", 4)]
)
def test_a_context_took_until_its_end_and_an_open_one_until_now(status, seconds):
    row = ContextRow(1, None, 1, "a.b", status, 3, BEGUN, BEGUN + timedelta(seconds=4), None)
    assert row.took(BEGUN + timedelta(hours=1)) == seconds
