"""`dama diff`: which numbers are contexts, events and attempts."""

import pytest

from dama.cli.commands.diff import diff

GIVEN = {
    "42 43": (42, 43, (), ()),
    "42 --at 1 2": (42, None, (1, 2), ()),
    "42 --at 1 --at 2": (42, None, (1, 2), ()),
    "42 --at=1 2 --json": (42, None, (1, 2), ()),
    "--at 1 42": (42, None, (1,), ()),
    "--slice rows --at 1 42 43": (42, 43, (1,), ()),
    "42 43 --at 1 2": (42, 43, (1, 2), ()),
    "42 --at 1 --json": (42, None, (1,), ()),
    "42 --attempt 1 2 --at 3": (42, None, (3,), (1, 2)),
    "--json -- 42 43": (42, 43, (), ()),
}


@pytest.mark.parametrize(("text", "wanted"), GIVEN.items(), ids=GIVEN)
def test_a_number_of_each_side_may_follow_an_option(text, wanted):
    """Before the context is named, the number behind it is the context."""
    params = diff.make_context("diff", text.split()).params

    found = (params["context_id"], params["other"], params["at"], params["attempts"])
    assert found == wanted
