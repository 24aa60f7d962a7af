"""Traces: the same for whoever makes them, one for each tree, one span for each run."""

import re

from dama.domain.trace import traceparent


def test_a_tree_is_one_trace_and_each_run_one_span():
    root, child, again, other = (
        traceparent("db", 1, 1, 1),
        traceparent("db", 1, 2, 1),
        traceparent("db", 1, 2, 2),
        traceparent("db", 3, 3, 1),
    )
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", t) for t in (root, child, other))
    traces = [t.split("-")[1] for t in (root, child, again, other)]
    assert len({*traces[:3]}) == 1
    assert traces[3] != traces[0]
    assert len({t.split("-")[2] for t in (root, child, again, other)}) == 4
    assert traceparent("db", 1, 1, 1) == root


def test_a_trace_that_was_given_goes_on():
    given = f"00-{'a' * 32}-{'b' * 16}-00"
    trace = traceparent("db", 1, 2, 1, given).split("-")
    own = traceparent("db", 1, 2, 1).split("-")
    assert trace == ["00", "a" * 32, own[2], "00"]
    for nonsense in (None, 5, "x", "00-aa-bb-01"):
        assert traceparent("db", 1, 2, 1, nonsense) == traceparent("db", 1, 2, 1)
