"""Nodes: what a line of dbt's structured log says as an event of a program."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dama.shapes import Json

CHECKS = frozenset({"test", "unit_test"})
FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
SKIPPED = "skipped"
LONGEST = 10_000  # characters of a message
SHOWN = 500
PAUSE = 0.1
TRIES = 100  # in which dbt has written the manifest


class _Relation(msgspec.Struct):
    schema: str | None = None
    alias: str | None = None
    relation_name: str | None = None


class _NodeInfo(msgspec.Struct):
    unique_id: str = ""
    resource_type: str = ""
    node_name: str = ""
    node_status: str = ""
    node_relation: _Relation = msgspec.field(default_factory=_Relation)


class _Result(msgspec.Struct):
    status: str = ""
    message: str | None = None
    execution_time: float = 0
    num_failures: int | None = None
    adapter_response: dict[str, Any] = {}


class _Data(msgspec.Struct):
    node_info: _NodeInfo = msgspec.field(default_factory=_NodeInfo)
    run_result: _Result = msgspec.field(default_factory=_Result)
    total: int = 0
    description: str = ""


class _Info(msgspec.Struct):
    name: str
    level: str = ""
    msg: str = ""


class _Named(msgspec.Struct):
    info: _Info


class _Line(msgspec.Struct):
    data: _Data


class _Dependencies(msgspec.Struct):
    nodes: list[str] = []


class _Node(msgspec.Struct):
    schema: str | None = None
    name: str = ""
    alias: str | None = None
    identifier: str | None = None
    relation_name: str | None = None
    depends_on: _Dependencies = msgspec.field(default_factory=_Dependencies)

    @property
    def table(self) -> str | None:
        """Its table, without the database; None for one that has none."""
        name = self.alias or self.identifier or self.name
        return f"{self.schema}.{name}" if self.relation_name and self.schema else None


class Manifest(msgspec.Struct):
    """What dbt knows of the project, of which little is read."""

    nodes: dict[str, _Node] = {}
    sources: dict[str, _Node] = {}

    def inputs(self, unique_id: str) -> list[str]:
        """The tables that a node reads; of a node without a table, those that it reads."""
        found: dict[str, None] = {}
        seen, ahead = {unique_id}, [unique_id]
        while ahead:
            node = self.nodes.get(ahead.pop())
            for each in () if node is None else node.depends_on.nodes:
                known = self.nodes.get(each) or self.sources.get(each)
                if known is None or each in seen:
                    continue
                seen.add(each)
                if known.table is not None:
                    found[known.table] = None
                else:
                    ahead.append(each)
        return sorted(found)


_named = msgspec.json.Decoder(_Named).decode
_line = msgspec.json.Decoder(_Line).decode
_manifest = msgspec.json.Decoder(Manifest).decode
_NONE = Manifest()


@dataclass
class Nodes:
    """The nodes of one invocation, as its log tells of them.

    Args:
        manifest: The file, which is there before the first node begins; dbt writes it again when
            the last one has ended.

    Attributes:
        statuses: By the id of the node.
        messages: Of those that failed.
        error: The first error that was logged; of a node, or of what comes before all nodes.
    """

    manifest: Path
    statuses: dict[str, str] = field(default_factory=dict[str, str])
    messages: dict[str, str] = field(default_factory=dict[str, str])
    error: str = ""
    _known: Manifest | None = None
    _tries: int = TRIES
    _total: int = 0

    def events(self, line: bytes) -> Iterable[Mapping[str, Any]]:
        """The events of a line; none of most."""
        try:
            info = _named(line).info
            name = info.name
            if info.level == "error" and not self.error:
                self.error = info.msg[:LONGEST]
            if name == "LogStartLine":
                data = _line(line).data
                self._total = data.total
                yield self._progress(data.description)
            elif name == "NodeFinished":
                data = _line(line).data
                yield self._finished(data.node_info, data.run_result)
                yield self._progress(f"{data.node_info.resource_type} {data.node_info.node_name}")
        except msgspec.DecodeError:  # a line that another version writes in another way
            return

    def _finished(self, node: _NodeInfo, result: _Result) -> Mapping[str, Any]:
        status = node.node_status or result.status
        self.statuses[node.unique_id] = status
        payload: dict[str, Json] = {
            "node": node.unique_id,
            "status": status,
            "seconds": round(result.execution_time, 3),
        }
        if result.message:
            payload["message"] = result.message[:LONGEST]
        if status in FAILED:
            self.messages[node.unique_id] = result.message or status
        if node.resource_type in CHECKS:
            return self._checked(node, result, status, payload)
        if inputs := self._read().inputs(node.unique_id):
            payload["inputs"] = inputs
        relation = node.node_relation
        if relation.relation_name and relation.schema and relation.alias:
            payload["table"] = f"{relation.schema}.{relation.alias}"
        rows: object = result.adapter_response.get("rows_affected")
        if isinstance(rows, int | float) and rows >= 0:
            payload["rows"] = int(rows)
        return {"type": f"/{node.unique_id}:{_suffix(status)}", "payload": payload}

    def _checked(
        self, node: _NodeInfo, result: _Result, status: str, payload: dict[str, Json]
    ) -> Mapping[str, Any]:
        """A test is a check, whose event has the count of what is wrong, as those of tasks have."""
        payload["count"] = result.num_failures or int(status in FAILED)
        if inputs := self._read().inputs(node.unique_id):
            payload["inputs"] = inputs
        return {"type": f"/check:{node.node_name}:{_suffix(status)}", "payload": payload}

    def _progress(self, message: str) -> Mapping[str, Any]:
        progress = {"done": len(self.statuses), "unit": "nodes", "message": message[:SHOWN]}
        if self._total:
            progress["total"] = self._total
        return {"type": ":PROGRESS", "payload": progress}

    def _read(self) -> Manifest:
        """The manifest; an empty one while there is none that can be read."""
        while self._known is None:
            try:
                self._known = _manifest(self.manifest.read_bytes())
            except msgspec.ValidationError:  # of another version, which says it in another way
                self._known = _NONE
            except OSError:
                return _NONE
            except msgspec.DecodeError:  # it is being written
                self._tries -= 1
                if self._tries <= 0:
                    return _NONE
                time.sleep(PAUSE)
        return self._known


def _suffix(status: str) -> str:
    if status == SKIPPED:
        return "SKIPPED"
    return "FAILED" if status in FAILED else "DONE"
