"""Settings of the gateway: what cannot be is refused when they are read, with the reason."""

import pytest

from dama.errors import InvalidDefinitionError
from dama.gateway.settings import HINTS, read_settings


def read(**values):
    return read_settings(values, "dama.toml", host=None, port=None)


def routes(**aliases):
    return [tuple(route) for route in read(aliases=aliases).aliases]


def test_aliases_have_a_method_or_none():
    given = {"GET flights/:year?": "flights.list", "/any": "a.b", "* /all": "c.d"}
    assert routes(**given) == [
        ("GET", "/flights/:year?", "flights.list"),
        ("", "/any", "a.b"),
        ("", "/all", "c.d"),
    ]
    assert routes(**{"post /x": {"action": "v2.x.y"}}) == [("POST", "/x", "v2.x.y")]


def test_rest_is_six_routes():
    """As moleculer-web has them."""
    assert routes(**{"REST /items": "stock.items"}) == [
        ("GET", "/items", "stock.items.list"),
        ("GET", "/items/:id", "stock.items.get"),
        ("POST", "/items", "stock.items.create"),
        ("PUT", "/items/:id", "stock.items.update"),
        ("PATCH", "/items/:id", "stock.items.patch"),
        ("DELETE", "/items/:id", "stock.items.remove"),
    ]
    some = routes(**{"REST /items/": {"action": "items", "only": ["list", "get"]}})
    assert [route[2] for route in some] == ["items.list", "items.get"]
    others = routes(**{"REST items": {"action": "items", "except": ["list", "get", "remove"]}})
    assert [route[2] for route in others] == ["items.create", "items.update", "items.patch"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("GET /x/:id(\\d+)", "x.y", "patterns are not taken"),
        ("GET /x/*", "x.y", "cannot be a route"),
        ("FETCH /x", "x.y", "has the method FETCH"),
        ("GET /x", ["a", "x.y"], "expected a table"),
        ("GET /x", "stream:x.y", "expected the name of an action"),
        ("GET /x", "multipart:x.y", "expected the name of an action"),
        ("GET /x", "x", "expected the name of an action"),
        ("GET /x", {"action": "x.y", "type": "multipart"}, "unknown key 'type'"),
        ("GET /x", {"action": "x.y", "fullPath": "/z"}, "unknown key 'fullPath'"),
        ("GET /x", {}, "expected the name of an action"),
        ("REST /x", {"action": "x", "only": ["lst"]}, "some of list, get"),
        ("REST /x/:id", "x", "has a param twice"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(key, value, reason):
    with pytest.raises(InvalidDefinitionError, match=reason):
        routes(**{key: value})


def test_two_actions_cannot_have_one_route():
    with pytest.raises(InvalidDefinitionError, match=r"twice: for a\.list and for b\.list"):
        routes(**{"REST /x": "a", "GET x/": "b.list"})


@pytest.mark.parametrize("key", sorted(HINTS))
def test_settings_of_moleculer_web_are_refused_with_what_to_do_instead(key):
    with pytest.raises(InvalidDefinitionError) as refused:
        read(**{key: True})
    assert refused.value.hint == HINTS[key]


@pytest.mark.parametrize(
    "origin",
    ["https://a.example/", "a.example", "null", "https://a/x", "https://u@a", "**"],
)
def test_an_origin_that_no_browser_sends_is_refused(origin):
    """It would never fit, and nobody would know why."""
    with pytest.raises(InvalidDefinitionError, match="as a browser sends them"):
        read(origins=[origin])


def test_a_mapping_policy_is_all_or_restrict():
    assert read(mapping_policy="restrict").mapping_policy == "restrict"
    with pytest.raises(InvalidDefinitionError, match='"all" or "restrict"'):
        read(mapping_policy="some")
