"""`[broker]`: how calls are made, as the settings file says it."""

import pytest

from dama.config.table import Table
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, RetryPolicy
from dama.errors import InvalidDefinitionError
from dama.shipped.policies import KEYS, read_policies


def read(**values):
    return read_policies(Table("dama.toml: broker", values, KEYS))


@pytest.mark.parametrize(
    ("values", "option", "policy"),
    [
        ({"retries": 3}, "retries", RetryPolicy(retries=3)),
        ({"retries": True}, "retries", RetryPolicy()),
        ({"retries": {"delay": 1, "retries": 2}}, "retries", RetryPolicy(retries=2, delay=1)),
        ({"breaker": {"threshold": 0.2}}, "breaker", BreakerPolicy(threshold=0.2)),
        ({"breaker": False}, "breaker", None),
        ({"bulkhead": {"concurrency": 2, "max_queue": 0}}, "bulkhead", BulkheadPolicy(2, 0)),
        ({"strategy": "random"}, "strategy", "random"),
        ({"prefer_local": False}, "prefer_local", False),
        ({"metadata": {"zone": "b"}}, "metadata", {"zone": "b"}),
        ({}, "retries", None),
    ],
)
def test_a_policy_is_a_word_or_a_table(values, option, policy):
    assert read(**values)[option] == policy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"retries": "3"}, r"broker\.retries"),
        ({"retries": -1}, "from 0"),
        ({"breaker": {"treshold": 1}}, "treshold"),
        ({"breaker": {"threshold": -1}}, "from 0"),
        ({"bulkhead": {"concurrency": 0}}, "from 1"),
        ({"strategy": "shard"}, "round_robin"),
        ({"prefer_local": 1}, "true or false"),
        ({"metadata": []}, "a table"),
    ],
)
def test_a_wrong_policy_is_named(values, words):
    with pytest.raises(InvalidDefinitionError, match=words):
        read(**values)
