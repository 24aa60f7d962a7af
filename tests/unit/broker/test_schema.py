"""Params in the words of Moleculer's validator, as people and OpenAPI are told of them."""

from __future__ import annotations

import pytest

from dama.broker.schema import may_be_left_out
from dama.cli.commands.call import signature

OPTIONAL = [
    "number|optional", "string|optional:true|min:3", "number|default:5", {"optional": True},
    {"type": "string", "default": ""}, ["string|optional", {"type": "number", "optional": True}],
]  # fmt: skip
NEEDED = [
    "number", "string|optional:false", {"type": "string", "optional": False}, {"type": "optional"},
    ["string|optional", "number"], [], {"$$type": "object", "optional": "boolean"}, None, True,
]  # fmt: skip


@pytest.mark.parametrize("rule", OPTIONAL, ids=str)
def test_a_param_that_may_be_left_out_is_told_from_others(rule):
    assert may_be_left_out(rule)


@pytest.mark.parametrize("rule", NEEDED, ids=str)
def test_a_param_that_is_needed_is_told_from_others(rule):
    assert not may_be_left_out(rule)


def test_what_the_validator_is_told_of_all_params_is_no_param():
    params = {"$$strict": True, "$$async": True, "id": "number", "name": "string|optional"}
    assert signature(params) == "id name?"
