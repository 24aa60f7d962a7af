"""Differences of two values, and the later value made of the earlier one."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.difference import applied, changes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~.", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("ab/~.", max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)


def like(one, other):
    """Whether both are the same JSON: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(like(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(like, one, other))
    return type(one) is type(other) and one == other


@given(VALUES, VALUES)
def test_what_is_different_gives_the_later_value(before, after):
    """Applied one by one; the earlier value stays as it was."""
    kept = copy.deepcopy(before)
    assert like(applied(before, changes(before, after)), after)
    assert like(before, kept)


@given(VALUES)
def test_a_value_differs_in_nothing_from_itself(value):
    """However it is nested."""
    assert not [*changes(value, copy.deepcopy(value))]


@pytest.mark.parametrize(
    ("before", "after", "path", "pointer"),
    [
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, "a.b[0]", "/a/b/0"),
        ({"x/y": {"~": 1}}, {"x/y": {"~": True}}, "x/y.~", "/x~1y/~0"),
        (1, 2, "", ""),
        ([[]], [[1]], "[0][0]", "/0/0"),
    ],
)
def test_a_place_is_named_for_people_and_as_a_pointer(before, after, path, pointer):
    """A key of an object may hold what separates the parts of a pointer."""
    (change,) = changes(before, after)
    assert (change.path, change.pointer) == (path, pointer)
