"""Resources: what a task may ask of the engine that places it."""

from datetime import timedelta

import pytest

from dama.definitions.resources import Resources, read_resources
from dama.errors import InvalidDefinitionError


def test_durations_and_sizes_are_written_as_everywhere():
    """Numbers are seconds and bytes."""
    asked = {"memory": "2GiB", "retry_memory": 2, "pending_timeout": "2h", "time": timedelta(1)}

    read = read_resources("a.b", asked)

    assert read == Resources(None, 2 << 30, None, 86400.0, 2, 7200.0)
    assert [read.after_memory_losses(n).megabytes for n in (0, 1, 2)] == [2048, 4096, 8192]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"retry_memory": 2}, "expected memory beside it"),
        ({"memory": 9, "retry_memory": 0}, "a whole number from 1"),
        ({"memory": 9, "retry_memory": 2.5}, "a whole number"),
        ({"pending_timeout": "soon"}, "pending_timeout"),
        ({"pending_timout": 9}, "pending_timeout"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(asked, words):
    """Where it stands, and not when it is placed."""
    with pytest.raises(InvalidDefinitionError) as refused:
        read_resources("a.b", asked)

    assert words in f"{refused.value} {refused.value.hint}"
