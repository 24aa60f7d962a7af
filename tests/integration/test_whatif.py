"""What if: which contexts would have another state, and from which event on."""

import pytest

from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.operations.folding import FoldingError
from dama.operations.whatif import Code, what_if
from dama.store import Start, apart
from dama.store.histories import read_histories

RULES = """
import sys
from dama import Slice

rows = Slice("rows_supposed", initial={"sum": 0})
print("a module may print")
assert sys.stdin.read() == ""


@rows.on("row")
def row(state, event):
    return {"sum": state["sum"] + event.payload}
"""
OTHERS = (
    RULES
    + """

@rows.on("other")
def other(state, event):
    match event.payload:
        case "raise":
            raise ValueError("x" * 100_000)
        case "end":
            sys.exit("enough")
        case "die":
            import os
            os._exit(3)
    return {"sum": state["sum"] + event.payload}
"""
)


@pytest.fixture
def told(store, tmp_path, monkeypatch):
    """What other rules would change; frames have a few events."""
    monkeypatch.setattr(apart, "FIRST_LINES", 2)
    monkeypatch.setattr(apart, "MOST_LINES", 5)
    for name, text in (("rules", RULES), ("others", OTHERS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "supposed.py").write_text(text)
    app = App(store, Registry([]), tmp_path)
    today, other = (Code(["supposed"], tmp_path / name) for name in ("rules", "others"))

    async def tell(**chosen):
        return await what_if(app, "rows_supposed", today, other, **chosen)

    return tell


def rows(count: int, *others: object) -> list[Event]:
    """Events of both kinds: those that only the other rules know are in the middle."""
    return [*[Event("row", 7)] * count, *(Event("other", each) for each in others), Event("row", 7)]


async def test_each_context_that_differs_is_told_with_its_first_event(store, told):
    """However many events came before it, also where the states are equal at the end."""
    ids = await store.start([Start("a.b", {})] * 6)
    for context_id, events in zip(
        ids[1:],
        [rows(3), rows(9, 5), rows(12, 0, 4, -4), rows(1, "raise"), rows(7, "end")],
        strict=True,
    ):
        await store.append(context_id, events)

    found = await told(contexts=ids)

    assert (found.contexts, found.different, found.events) == (6, 3, 49)
    first = {each.context_id: each for each in found.differences}
    assert first.keys() == {ids[2], ids[4], ids[5]}
    assert first[ids[2]].version == 11
    assert first[ids[2]].type == "other"
    assert [*first[ids[2]].changes] == [
        {"path": "/sum", "kind": "changed", "before": 63, "after": 68}
    ]
    assert first[ids[4]].version == 3
    assert (first[ids[4]].error or "").startswith("ValueError: xxx")
    assert first[ids[5]].version == 9
    assert "sys.exit" in (first[ids[5]].error or "")


async def test_code_that_ends_its_process_is_told(store, told):
    """Not waited for."""
    (context_id,) = await store.start([Start("a.b", {})])
    await store.append(context_id, rows(3, "die"))

    with pytest.raises(FoldingError, match="ended: 3"):
        await told()


async def test_what_is_appended_meanwhile_is_not_read(store):
    """Both rules get the same events, of a context that goes on as well."""
    ids = await store.start([Start("a.b", {})] * 2)
    await store.append(ids[0], rows(3))
    contexts = [await store.context(each) for each in (ids[1], ids[0])]
    await store.append(ids[0], rows(3))

    read = [line async for page in read_histories(store.database, contexts) for line in page]
    few = [
        line
        async for page in read_histories(store.database, contexts, ["row", "none"])
        for line in page
    ]

    assert [f'"version":{n},' in line for n, line in zip([1, 1, 2, 3, 4, 5], read, strict=True)]
    assert f'"context_id":{ids[1]},' in read[0]
    assert len(few) == 4
