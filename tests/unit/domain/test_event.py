"""Events: the profile of Flux Standard Actions, and what survives a round trip."""

import json
import math
from types import MappingProxyType

import msgspec
import pytest

from dama.domain.errors import InvalidEventError
from dama.domain.event import (
    ABSENT,
    Event,
    StoredEvent,
    check_event,
    error_payload,
    event_dict,
    kind_of,
    parse_event,
    warnings_of,
)

ACCEPTED = [
    {"type": "A"},
    {"type": "A", "payload": "x"},
    {"type": "A", "payload": 0},
    {"type": "A", "payload": False},
    {"type": "A", "payload": ""},
    {"type": "A", "payload": []},
    {"type": "A", "payload": None},
    {"type": "A", "meta": {"epoch": 1}},
    {"type": "A", "error": True, "payload": {"message": "no"}},
    {"type": "A:ERROR", "error": True, "payload": {"message": "no"}},
    {"type": "A", "error": False},
]
REFUSED = [
    ({}, "type is missing"),
    (None, "got null"),
    ({"payload": 1}, "type is missing"),
    ({"type": None}, "type must be a string, got null"),
    ({"type": 7}, "type must be a string, got a number"),
    ({"type": True}, "type must be a string, got a boolean"),
    ({"type": ""}, "type must not be empty"),
    ([], "got an array"),
    ("A", "got a string"),
    (1, "got a number"),
    ({"type": "A", "extra": 1}, "no key 'extra'"),
    ({"type": "A", "meta": 1}, "meta must be an object, got a number"),
    ({"type": "A", "meta": []}, "meta must be an object, got an array"),
    ({"type": "A", "error": True}, "got no payload"),
    ({"type": "A", "error": True, "payload": "x"}, "got a string"),
    ({"type": "A", "error": "true"}, "error must be true, false or absent"),
    ({"type": "A", "error": 1}, "error must be true, false or absent"),
    ({"type": "A:ERROR"}, "must have error: true"),
]
NOT_JSON = [
    ({"rows": [1, {"ratio": math.nan}]}, r"payload\.rows\[1\]\.ratio is nan"),
    (math.inf, "payload is inf"),
    ({"a": "x\0"}, r"payload\.a has the character U\+0000"),
    ("\ud800", "lone surrogate"),
    ({1: 2}, "the key 1"),
    ({"a\0": 2}, "the key"),
    ({"at": object()}, r"payload\.at is a object: not JSON"),
    ({"n": [10**5000]}, r"payload\.n\[0\] has too many digits"),
]


@pytest.mark.parametrize("value", ACCEPTED)
def test_an_event_of_the_profile_comes_back_as_it_was(value):
    """What is absent stays absent; null, 0, false, "" and [] are kept exactly."""
    event = parse_event(value)

    assert event_dict(event) == value


@pytest.mark.parametrize(("value", "words"), REFUSED)
def test_what_is_no_event_is_refused_with_the_key_and_the_rule(value, words):
    """Who sent it can mend it without reading the source."""
    with pytest.raises(InvalidEventError, match=words):
        parse_event(value)


@pytest.mark.parametrize(("payload", "words"), NOT_JSON)
def test_what_jsonb_can_not_hold_is_refused_with_its_path(payload, words):
    """In a payload of a thousand values the path is what helps."""
    with pytest.raises(InvalidEventError, match=words):
        check_event(Event("A", payload))


def test_an_error_of_null_is_as_absent():
    """JavaScript writes it so."""
    assert parse_event({"type": "A", "error": None}).error is ABSENT


def test_absent_and_null_payloads_differ_when_they_are_decoded():
    """The store's JSON leaves out what is absent."""
    head = '{"event_id":1,"context_id":1,"version":1,"created_at":"2026-01-01T00:00:00Z","type":"A"'
    decode = msgspec.json.Decoder(StoredEvent).decode

    assert decode(head + "}").payload is ABSENT
    assert decode(head + ',"payload":null}').payload is None


@pytest.mark.parametrize(
    ("type_", "kind"),
    [(":FINAL", "FINAL"), ("a.b:FINAL", "FINAL"), ("a.b/x:DONE", None), ("FINAL", None)],
)
def test_the_last_suffix_says_what_a_type_means(type_, kind):
    """A bare suffix and a prefixed type mean the same."""
    assert kind_of(type_) == kind


def test_integers_that_javascript_rounds_are_warned_of():
    """They are legal, and a reader in a browser will see another number."""
    found = warnings_of(Event("A", {"ids": [1, 2**53 + 1]}))

    assert len(found) == 1
    assert "payload.ids[1]" in found[0]


def test_an_exception_becomes_a_payload_that_json_can_hold():
    """Also when its text has what JSON cannot."""
    payload = error_payload(ValueError("bad\0 \ud800"))

    assert payload["name"] == "ValueError"
    assert "ValueError" in payload["stack"]
    json.dumps(payload).encode()


@pytest.mark.parametrize("meta", [1, "x", [1], None])
def test_an_old_event_with_any_meta_is_read_as_it_is(meta):
    """One row of an old program must not make its whole context unreadable."""
    text = json.dumps(
        {
            "event_id": 1,
            "context_id": 1,
            "version": 1,
            "created_at": "2026-01-01T00:00:00Z",
            "type": "A",
            "meta": meta,
        }
    )

    assert msgspec.json.decode(text, type=StoredEvent).meta == meta


def test_a_mapping_that_json_can_not_write_is_refused():
    """Let through, it would fail in the store, without a path."""
    with pytest.raises(InvalidEventError, match=r"payload\.a is a mappingproxy"):
        check_event(Event("A", {"a": MappingProxyType({})}))


def test_a_payload_that_is_nested_too_deeply_is_refused():
    """It is the sender's mistake, not a crash of the product."""
    payload = []
    for _ in range(10_000):
        payload = [payload]

    with pytest.raises(InvalidEventError, match="payload is nested too deeply"):
        check_event(Event("A", payload))


def test_an_exception_that_can_not_say_itself_still_becomes_a_payload():
    """Else the run that failed could not even write its ERROR."""

    class MuteError(Exception):
        def __str__(self):
            raise ValueError

        @property
        def code(self):
            raise ValueError

    payload = error_payload(MuteError())

    assert payload["name"] == "MuteError"
    assert "code" not in payload


def test_an_exception_gives_the_code_and_the_data_that_json_can_hold():
    """Callers decide by them; what cannot be kept must not cost the rest."""

    class CodedError(Exception):
        def __init__(self, code, data):
            self.code = code
            self.data = data

    whole, partly = (
        error_payload(CodedError("X1", {"rows": 2})),
        error_payload(CodedError("X1", {"ratio": math.nan})),
    )

    assert (whole["code"], whole["data"]) == ("X1", {"rows": 2})
    assert partly["code"] == "X1"
    assert "data" not in partly


def test_integers_are_warned_of_only_beyond_what_javascript_holds():
    """On both sides of zero, in meta too; a boolean is no number."""
    exact = Event("A", [2**53, -(2**53), True])
    rounded = Event("A", [-(2**53) - 1], meta={"id": 2**60})

    found = warnings_of(rounded)

    assert warnings_of(exact) == []
    assert [text.split()[0] for text in found] == ["payload[0]", "meta.id"]
