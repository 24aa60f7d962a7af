"""JSON that somebody sends: numbers keep all their digits, members come once, or it is refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.errors import InvalidJsonError, RepeatedMemberError
from dama.domain.exact import decode, encode


def json_values() -> st.SearchStrategy[object]:
    """Values with names and texts full of what means something in JSON."""
    text = st.text(st.sampled_from('ab":\\{}[],é\n'), max_size=6)
    leaves = st.none() | st.booleans() | st.integers(-9, 9) | text
    return st.recursive(leaves, lambda v: st.lists(v) | st.dictionaries(text, v), max_leaves=30)


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", "1e" + "9" * 30, "1e-" + "9" * 30, "1.5E+" + "9" * 9000, "0." + "9" * 5000],
    ids=lambda number: number[:8],
)
def test_a_number_that_nobody_can_keep_is_refused_and_is_no_error_of_ours(number):
    """Whatever its exponent, and however many digits it has."""
    with pytest.raises(InvalidJsonError):
        decode(f'{{"a": [{number}]}}')


def test_a_number_of_a_million_digits_takes_no_time():
    """Comparing it with a double would take longer than anything else of its request."""
    begun = time.process_time()
    with pytest.raises(InvalidJsonError, match="digits"):
        decode("0." + "9" * 1_000_000)
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": 1, "b": 2, "\\u0061": 3}',
        '[[{"x": {"a:": ":", "a:": ":"}}]]',
        '{"\\"": 1, "\\"": 2}',
        '{"": {}, "": {}}',
        '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2, "c": null, "a": 3}]}',
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_an_object_with_a_member_twice_is_refused(text, kind):
    """A decoder alone keeps the last one, and says nothing."""
    with pytest.raises(RepeatedMemberError, match=r"an object has \".*\" twice"):
        decode(kind(text))


@given(json_values())
def test_what_was_encoded_names_each_member_once(value):
    assert decode(encode(value)) == value


def test_a_member_twice_among_many_is_found_in_no_time():
    """Whatever else there is: neither many members nor many quotes take longer than their text."""
    many = ", ".join(f'"k{n}": ":"' for n in range(60_000))
    begun = time.process_time()
    with pytest.raises(RepeatedMemberError):
        decode("{" + many + ', "k59999": 1}')
    with pytest.raises(RepeatedMemberError):
        decode('{"a": "' + '\\":' * 200_000 + '", "a": 1}')
    assert time.process_time() - begun < 2.0
