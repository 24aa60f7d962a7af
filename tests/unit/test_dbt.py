"""What is read of what dbt writes, as 1.11 writes it."""

import json

import msgspec
import pytest

from dama.dbt.invocation import Results, retried
from dama.dbt.nodes import Manifest, Nodes


def line(name, **data):
    return json.dumps({"info": {"name": name, "level": "debug", "msg": ""}, "data": data}).encode()


def finished(unique_id, status="success", rows=None, failures=0, message=None, schema="mart"):
    kind, _, name = unique_id.split(".", 2)
    relation = {"schema": schema, "alias": name, "relation_name": f'"db"."{schema}"."{name}"'}
    node = {
        "unique_id": unique_id, "resource_type": kind, "node_name": name, "node_status": status,
        "node_relation": relation if kind == "model" else {**relation, "relation_name": ""},
    }  # fmt: skip
    response = {} if rows is None else {"rows_affected": rows}
    result = {
        "status": status, "message": message, "num_failures": failures, "execution_time": 1.25,
        "adapter_response": response,
    }  # fmt: skip
    return line("NodeFinished", node_info=node, run_result=result)


FOUND = [
    (
        finished("model.shop.a", rows=3.0),
        "/model.shop.a:DONE",
        {"status": "success", "table": "mart.a", "rows": 3},
    ),
    (finished("model.shop.a", rows=-1), "/model.shop.a:DONE", {"table": "mart.a"}),
    (finished("model.shop.a", "skipped"), "/model.shop.a:SKIPPED", {"status": "skipped"}),
    (finished("seed.shop.a", "error", message="no"), "/seed.shop.a:FAILED", {"message": "no"}),
    (finished("test.shop.t", "pass"), "/check:t:DONE", {"count": 0}),
    (finished("test.shop.t", "warn", failures=2), "/check:t:DONE", {"count": 2}),
    (finished("test.shop.t", "fail", failures=7), "/check:t:FAILED", {"count": 7}),
    (finished("test.shop.t", "error"), "/check:t:FAILED", {"count": 1}),
]


@pytest.mark.parametrize(("written", "type_", "some"), FOUND)
def test_a_node_that_has_finished_is_a_step_or_a_check(tmp_path, written, type_, some):
    event, progress = Nodes(tmp_path / "manifest.json").events(written)
    assert event["type"] == type_
    assert event["payload"] == {**event["payload"], **some, "seconds": 1.25}
    assert progress["type"] == ":PROGRESS"


@pytest.mark.parametrize(
    "written", [b"", b"{", b"[]", b"plain", line("Other"), b'{"info": {"name": "NodeFinished"}}']
)
def test_a_line_that_says_nothing_of_a_node_is_passed_over(tmp_path, written):
    assert list(Nodes(tmp_path / "manifest.json").events(written)) == []


def test_what_a_node_reads_are_tables_also_through_models_that_have_none(tmp_path):
    def node(name, *depends_on, relation=True):
        return {
            "schema": "mart", "name": name, "alias": name, "resource_type": "model",
            "relation_name": f'"db"."mart"."{name}"' if relation else None,
            "depends_on": {"macros": [], "nodes": [*depends_on]},
        }  # fmt: skip

    manifest = {
        "metadata": {}, "sources": {
            "source.p.s.t": {"schema": "raw", "identifier": "t_1", "name": "t",
                             "relation_name": '"db"."raw"."t_1"'},
        },
        "nodes": {
            "model.p.a": node("a", "source.p.s.t"),
            "model.p.e": node("e", "model.p.a", "model.p.e2", relation=False),
            "model.p.e2": node("e2", "model.p.e", "source.p.s.t", relation=False),
            "model.p.b": node("b", "model.p.e", "model.p.gone"),
        },
    }  # fmt: skip
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest))
    event, _ = Nodes(file).events(finished("model.p.b"))
    assert event["payload"]["inputs"] == ["mart.a", "raw.t_1"]
    assert Manifest().inputs("model.p.b") == []


def test_a_manifest_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    """dbt writes it once more at its end, when the last nodes are read from its log."""
    manifest = tmp_path / "manifest.json"
    source = {"schema": "raw", "name": "a", "relation_name": '"raw"."a"'}
    whole = json.dumps(
        {
            "nodes": {"model.shop.a": {"depends_on": {"nodes": ["source.shop.a"]}}},
            "sources": {"source.shop.a": source},
        }
    ).encode()
    manifest.write_bytes(whole[:40])
    pauses = []

    def goes_on(seconds):
        pauses.append(seconds)
        manifest.write_bytes(whole)

    monkeypatch.setattr("dama.dbt.nodes.time.sleep", goes_on)
    event, _ = Nodes(manifest).events(finished("model.shop.a"))
    assert event["payload"]["inputs"] == ["raw.a"]
    assert len(pauses) == 1


def test_a_manifest_that_comes_late_or_never_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr("dama.dbt.nodes.time.sleep", lambda _: None)
    manifest = tmp_path / "manifest.json"
    nodes = Nodes(manifest)
    for content in (None, b"", b'{"nodes": {', b'{"nodes": {}}'):
        if content is not None:
            manifest.write_bytes(content)
        event, _ = nodes.events(finished("model.shop.a"))
        assert "inputs" not in event["payload"]


RETRIED = [
    ("dbt build", "dbt retry"),
    ("/v/bin/dbt run --select a+ --target prod", "/v/bin/dbt retry --target prod"),
    ("dbt build --profiles-dir=. -t prod --full-refresh", "dbt retry --profiles-dir=. -t prod"),
]


@pytest.mark.parametrize(("command", "again"), RETRIED)
def test_a_retry_has_the_options_that_say_where(command, again):
    assert retried(command.split()) == again.split()


@pytest.mark.parametrize(
    ("statuses", "is_to_retry"),
    [(["success", "pass", "warn"], False), (["success", "fail"], True), (["skipped"], True)],
)
def test_only_what_has_failed_is_retried(statuses, is_to_retry):
    results = [{"unique_id": f"n{i}", "status": status} for i, status in enumerate(statuses)]
    assert msgspec.convert({"results": results}, Results).is_to_retry is is_to_retry
