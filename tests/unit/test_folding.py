"""Folding in a process of its own: what it answers, however its events come in."""

import io
import random
from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from dama import Slice
from dama.domain.event import Event, StoredEvent
from dama.domain.exact import encode_hook
from dama.operations.folding import LENGTH, NOTHING, Contexts, Fold, Folding, Show, Step

sums = Slice("folding_sums", initial={})
NOW = datetime(2013, 1, 1, tzinfo=UTC)


@sums.on("row")
def added(state, event: Event):
    """Seven of one kind are too many."""
    kind, rows = event.payload
    if state.get(kind, 0) + rows > 30:
        raise ValueError(f"too many of {kind}")
    return {**state, kind: state.get(kind, 0) + rows}


def frames_of(*parts: bytes) -> io.BytesIO:
    """What the process reads."""
    return io.BytesIO(b"".join(len(part).to_bytes(LENGTH) + part for part in parts))


def lines_of(events: list[StoredEvent]) -> bytes:
    """Events as the database has them."""
    encode = msgspec.json.Encoder(enc_hook=encode_hook).encode
    return b"\n".join(map(encode, events))


def history(chance: random.Random) -> dict[int, list[StoredEvent]]:
    """Contexts, some of them without events and some that fail."""
    ids = chance.sample(range(1, 99), chance.randint(1, 6))
    return {
        context_id: [
            StoredEvent(
                chance.choice(["row", "row", "other"]),
                [chance.choice("ab"), chance.randint(0, 9)],
                event_id=1000 * context_id + version,
                context_id=context_id,
                version=version,
                created_at=NOW,
            )
            for version in range(1, chance.choice([0, 1, 5, 12]) + 1)
        ]
        for context_id in ids
    }


def expected(events: list[StoredEvent]) -> tuple[object, int | None]:
    """The state after all, or the version that the reducer raises at."""
    state = sums.initial
    for event in events:
        try:
            state = sums.reduce(state, event)
        except ValueError:
            return None, event.version
    return state, None


def test_contexts_are_folded_however_their_events_are_cut():
    """A context may begin in one frame and end in another; one that failed stays failed."""
    chance = random.Random(5)
    failed = 0
    for _ in range(150):
        contexts = history(chance)
        events = [event for each in contexts.values() for event in each]
        parts: list[bytes] = []
        while events:
            count = chance.randint(1, len(events))
            parts.append(lines_of(events[:count]))
            events = events[count:]

        folds = Folding(sums, frames_of(*parts, NOTHING)).contexts(Contexts([*contexts]))

        known: dict[str, object] = {}
        for fold, own in zip(folds, contexts.values(), strict=True):
            state, failed_at = expected(own)
            assert fold.failed_at == failed_at
            assert ("too many" in (fold.error or "")) == (failed_at is not None)
            failed += failed_at is not None
            if failed_at is None:
                assert known.setdefault(fold.digest, state) == state
        assert len(known) == len({str(sorted(state.items())) for state in known.values()})
    assert failed > 20


def test_a_trace_has_the_state_after_each_event():
    """In steps of any size; the state within the last one is shown."""
    chance = random.Random(6)
    for _ in range(60):
        events = [event for each in history(chance).values() for event in each][:12]
        cut = chance.randint(0, len(events))
        steps = [part for part in (events[:cut], events[cut:]) if part]
        folding = Folding(sums, frames_of(*map(lines_of, steps)))
        done: list[StoredEvent] = []
        digests: list[str] = []
        for number, part in enumerate(steps):
            trace = folding.step(Step(is_first=number == 0))
            digests += trace.digests
            for count in range(len(trace.digests) + 1):
                assert folding.show(Show(count)).state == expected(done + part[:count])[0]
            failed_at = expected(done + part)[1]
            assert (trace.error is None) == (failed_at is None)
            if failed_at is not None:
                break
            done += part
        states = [str(expected(events[: n + 1])[0]) for n in range(len(digests))]
        assert [a == b for a, b in pairwise(digests)] == [a == b for a, b in pairwise(states)]


def test_a_state_that_json_does_not_have_is_an_error_of_its_context():
    """And not the end of the process."""
    odd = Slice("folding_odd", initial=(), state_type=tuple)

    @odd.on("row")
    def kept(_state, event: Event):
        return object() if event.payload[1] else ()

    assert kept
    events = [
        StoredEvent("row", ["a", n], event_id=n + 1, context_id=n + 1, version=1, created_at=NOW)
        for n in range(2)
    ]
    folds = Folding(odd, frames_of(lines_of(events), NOTHING)).contexts(Contexts([1, 2, 3]))

    assert folds[0] == folds[2] == Fold(folds[0].digest)
    assert folds[1].error
    assert not folds[1].digest
