"""Declarations of taps: what their config becomes, and what is refused before anything runs."""

import tomllib
from pathlib import Path

import pytest

from dama.definitions.registry import Registry
from dama.definitions.tap import filled
from dama.errors import InvalidDefinitionError

TAP = """
kind = "singer"
command = ["tap-shop"]
schema = "shop"
secrets = ["TOKEN"]
params.account = { type = "integer" }
params.note = { required = false }
"""

DBT = """
kind = "dbt"
command = ["dbt", "build"]
"""


def task(lines="", text=TAP):
    registry = Registry()
    programs = {"shop.sync": tomllib.loads(f"{text}\n{lines}")}
    registry.add_programs(programs, "dama.toml", Path("/project"))
    return registry.task("shop.sync")


def test_one_run_at_a_time_loads_for_each_state():
    """Two would begin at the same state."""
    assert task().limit_key({"account": 7}) == "shop.sync"
    keyed = task('state_key = "{account}"')
    assert keyed.limit_key({"account": 7}) == "shop.sync/7"
    assert keyed.program.tap.key({"account": 7}) == "7"
    assert (keyed.options.concurrency, task("concurrency = 3").options.concurrency) == (1, 3)
    assert task('singleton = "refuse"').options.concurrency is None


def test_a_config_has_values_where_a_placeholder_stands_alone_and_is_json():
    """A value with the braces of a secret in it is a text."""
    config = task("""
        [config]
        account = "{account}"
        since = 2020-01-31
        urls = ["https://{account}.example.org?{{x}}", "{note}"]
        more = { token = "{TOKEN}", note = "{note}", on = true }
    """).program.tap.config
    assert filled(config, {"account": 7, "TOKEN": "secret {account}"}) == {
        "account": 7,
        "since": "2020-01-31",
        "urls": ["https://7.example.org?{x}"],
        "more": {"token": "secret {account}", "on": True},
    }


def test_paths_begin_at_the_folder_of_the_file():
    tap = task('config = "shop.json"\ncatalog = "../catalog.json"').program.tap
    assert (tap.config, tap.catalog) == ("/project/shop.json", "/project/../catalog.json")


WRONG = [
    (TAP.replace("singer", "airbyte"), "", "kind is 'airbyte': expected \"singer\""),
    (DBT, 'schema = "shop"', "schema is 'shop': expected no such key"),
    (DBT.replace("build", "--log-path=x"), "", "command has --log-path=x, which dama sets"),
    (TAP.replace('schema = "shop"', ""), "", "schema is missing: expected the schema"),
    (TAP.replace('kind = "singer"', ""), "", "schema is 'shop': expected no such key"),
    (TAP, "pty = true", "pty is true: expected no such key"),
    (TAP, "exit_codes = { done = [3] }", "exit_codes is a table: expected no such key"),
    (TAP, "config = 3", "config is 3: expected a table"),
    (TAP, 'config = { a = ["{TOKN}"] }', "placeholder {TOKN} in '{TOKN}'"),
    (TAP, 'state_key = "account"', "state_key is 'account': expected params in braces"),
    (TAP, 'state_key = "{TOKEN}"', "state_key is '{TOKEN}': expected params in braces"),
]


@pytest.mark.parametrize(("text", "lines", "message"), WRONG)
def test_a_wrong_declaration_is_refused(text, lines, message):
    with pytest.raises(InvalidDefinitionError) as refused:
        task(lines, text)
    assert message in str(refused.value)
