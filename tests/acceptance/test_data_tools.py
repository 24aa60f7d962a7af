"""Data tools that others made, under dama: a tap of Meltano's, and dbt.

They are installed by `tools/datatools --install`, each in an environment of its own.
"""

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.command import Command

pytestmark = pytest.mark.timeout(300)
INDEX = """
CREATE SCHEMA source;
CREATE TABLE source.orders (
  id int PRIMARY KEY, customer int, amount numeric(10, 2), tags text[], at timestamptz NOT NULL);
INSERT INTO source.orders
  SELECT n, n % 3, n / 100.0, '{a,b}', '2024-01-01'::timestamptz + n * interval '1 s'
    FROM generate_series(1, 500) n;
"""
PROGRAMS = """
[programs."shop.sync"]
kind = "singer"
command = ["{tools}/tap-postgres/bin/tap-postgres"]
config = {{ sqlalchemy_url = "{{SHOP_URL}}", filter_schemas = ["source"] }}
catalog = "catalog.json"
schema = "shop"
secrets = ["SHOP_URL"]

[programs."mart.build"]
kind = "dbt"
command = ["{tools}/dbt/bin/dbt", "build", "--profiles-dir", "."]
cwd = "mart"
inherit = ["MART_*"]
"""
MART = {
    "dbt_project.yml": """
{name: mart, profile: mart, flags: {send_anonymous_usage_stats: false}}
""",
    "profiles.yml": """
mart:
  target: it
  outputs:
    it: {type: postgres, host: "{{ env_var('MART_HOST') }}", user: "{{ env_var('MART_USER') }}",
         port: "{{ env_var('MART_PORT') | int }}", dbname: "{{ env_var('MART_DB') }}",
         password: none, schema: mart, threads: 1}
""",
    "models/schema.yml": """
sources:
- {name: shop, schema: shop, tables: [{name: source_orders}]}
models:
- name: orders
  columns:
  - name: id
    data_tests: [unique]
  - name: customer
    data_tests: [{accepted_values: {arguments: {values: [1, 2]}, config: {severity: warn}}}]
""",
    "models/orders.sql": """{{ config(materialized='table') }}
select id, customer, divisor from {{ source('shop', 'source_orders') }}, public.divisor""",
    "models/fine.sql": """{{ config(materialized='ephemeral') }}
select divisor from {{ ref('orders') }}""",
    "models/broken.sql": """{{ config(materialized='table') }}
select 1 / (select max(divisor) from public.divisor) as x from {{ ref('fine') }}""",
    "models/after.sql": "select * from {{ ref('broken') }}",
}


@pytest.fixture(scope="session")
def tools():
    """The folder that has the tools."""
    tool = Path(__file__).parents[2] / "tools" / "datatools"
    found = subprocess.run([tool], capture_output=True, text=True, check=False).stdout.strip()
    if found:
        return Path(found)
    if os.environ.get("DAMA_TEST_NEEDS_DATATOOLS"):
        pytest.fail("The data tools were installed for the tests, and are not found")
    return pytest.skip("NO DATA TOOLS here: tools/datatools --install gets them")


@pytest.fixture
def where(database_url):
    """The parts of the address of the database."""
    return conninfo_to_dict(database_url)


@pytest.fixture
def dama(tmp_path, database_url, where, forked, tools):
    """The command, in a project that has both."""
    (tmp_path / "dama.toml").write_text(PROGRAMS.format(tools=tools))
    for name, text in MART.items():
        file = tmp_path / "mart" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    port = str(where.get("port", 5432))
    url = f"postgresql+psycopg2://{where['user']}:{where.get('password', 'none')}@localhost"
    environ = forked.environ(
        DAMA_DATABASE_URL=database_url,
        SHOP_URL=f"{url}:{port}/{where['dbname']}?host={where['host']}",
        MART_HOST=where["host"], MART_USER=where["user"], MART_PORT=port,
        MART_DB=where["dbname"],
    )  # fmt: skip
    return Command(tmp_path, environ)


@pytest.fixture
def database(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def discovered(dama, tools):
    """The catalog of the tap, with orders selected to be continued by their time."""
    tap = tools / "tap-postgres" / "bin" / "tap-postgres"
    config = dama.folder / "config.json"
    url = dama.environ["SHOP_URL"]
    config.write_text(json.dumps({"sqlalchemy_url": url, "filter_schemas": ["source"]}))
    printed = subprocess.check_output([tap, "--config", config, "--discover"])
    catalog = json.loads(printed)
    for stream in catalog["streams"]:
        stream |= {"replication_method": "INCREMENTAL", "replication_key": "at"}
        root = next(each for each in stream["metadata"] if not each["breadcrumb"])
        root["metadata"]["selected"] = True
    (dama.folder / "catalog.json").write_text(json.dumps(catalog))


def events(database, context_id):
    return database.execute(
        "SELECT type, payload FROM _data_manager_admin.event_store_prototype"
        " WHERE etl_context_id = %s ORDER BY version",
        [context_id],
    ).fetchall()


def test_a_tap_of_others_loads_continues_and_follows_its_schema(dama, database, tools):
    """What is in the table is what is in the source, to the last digit."""
    loaded = "SELECT id, customer, amount, tags, at FROM shop.source_orders ORDER BY id"
    database.execute(INDEX)
    discovered(dama, tools)
    first = json.loads(dama("run", "shop.sync", "--json", check=True).stdout)
    assert first["result"]["rows"] == {"source-orders": 500}
    source = "SELECT id, customer, amount, to_jsonb(tags), at FROM source.orders ORDER BY id"
    assert database.execute(loaded).fetchall() == database.execute(source).fetchall()

    database.execute(
        "ALTER TABLE source.orders ADD note text, ALTER customer TYPE numeric;"
        "UPDATE source.orders SET note = 'late', customer = 1.5, at = '2025-01-01' WHERE id < 4;"
        "INSERT INTO source.orders VALUES (501, 7, 0.01, NULL, '2025-01-02', 'new')"
    )
    discovered(dama, tools)
    second = json.loads(dama("run", "shop.sync", "--json", check=True).stdout)
    assert second["result"]["rows"]["source-orders"] <= 5  # the last one of before comes again
    for more in (loaded, loaded.replace("tags", "note")):
        source = more.replace("shop.source_orders", "source.orders").replace(
            "tags", "to_jsonb(tags)"
        )
        assert database.execute(more).fetchall() == database.execute(source).fetchall()
    (steps,) = [p for t, p in events(database, second["context_id"]) if "/load:" in t]
    assert steps["table"] == "shop.source_orders"
    assert "none@localhost" not in str(events(database, second["context_id"]))


def test_the_nodes_of_dbt_are_events_and_only_what_failed_is_done_again(dama, database):
    """Models are steps, tests are checks; `dama resume` is `dbt retry`."""
    database.execute(
        "CREATE SCHEMA shop; CREATE TABLE shop.source_orders (id int, customer int);"
        "INSERT INTO shop.source_orders SELECT n, n % 3 FROM generate_series(1, 9) n;"
        "CREATE TABLE divisor AS SELECT 0 AS divisor"
    )
    failed = dama("run", "mart.build", "--json")
    assert failed.returncode == 1
    context = json.loads(failed.stdout)["context_id"]
    first = dict(events(database, context))
    orders = first["mart.build/model.mart.orders:DONE"]
    assert {name: orders[name] for name in ("table", "rows", "inputs", "status")} == {
        "table": "mart.orders", "rows": 9, "inputs": ["shop.source_orders"], "status": "success",
    }  # fmt: skip
    assert first["mart.build/check:unique_orders_id:DONE"]["count"] == 0
    warned = first["mart.build/check:accepted_values_orders_customer__1__2:DONE"]
    assert (warned["count"], warned["status"], warned["inputs"]) == (1, "warn", ["mart.orders"])
    broken = first["mart.build/model.mart.broken:FAILED"]
    assert "division by zero" in broken["message"]
    assert broken["inputs"] == ["mart.orders"]  # through a model that has no table
    assert "mart.build/model.mart.after:SKIPPED" in first
    assert "division by zero" in first["mart.build:ERROR"]["message"]

    (dama.folder / "mart" / "models" / "after.sql").write_text("select {{ ref('nosuch') }}")
    wrong = json.loads(dama("resume", context, "--json").stdout)
    assert "depends on a node named 'nosuch'" in wrong["error"]["message"]

    (dama.folder / "mart" / "models" / "after.sql").write_text(MART["models/after.sql"])
    database.execute("UPDATE divisor SET divisor = 1")
    dama("resume", context, check=True)
    second = since_last_error(events(database, context))
    types = [type_ for type_, _ in second]
    assert "mart.build/model.mart.broken:DONE" in types
    assert "mart.build/model.mart.after:DONE" in types
    assert "mart.build/model.mart.orders:DONE" not in types
    final = dict(second)["mart.build:FINAL"]
    assert final == {"command": "retry --profiles-dir .", "nodes": {"success": 2}}
    lineage = json.loads(dama("lineage", "mart.after", "--json", check=True).stdout)
    assert [source["table"] for source in lineage["sources"]] == ["mart.broken"]
    assert [source["table"] for source in lineage["sources"][0]["sources"]] == ["mart.orders"]
    assert lineage["is_fresh"] is True
    made = [payload["path"] for type_, payload in second if type_.endswith(":ARTIFACT")]
    assert sorted(made) == ["manifest.json", "run_results.json"]


def since_last_error(found):
    """Those of the last attempt."""
    last = max(place for place, (type_, _) in enumerate(found) if type_ == "mart.build:ERROR")
    return found[last + 1 :]
