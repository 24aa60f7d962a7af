"""The OpenAPI document: valid, and true. schemathesis asks what it promises."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter

import pytest
from openapi_spec_validator import validate

from dama.gateway.fixed_operations import OPERATIONS
from tests.integration.served import served

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,unsupported_method"
)


async def test_the_document_is_valid_and_names_all_that_is_published(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        found = (await client.get("/openapi.json")).json()
        validate(found)
        paths = found["paths"]
        assert set(paths["/api/shop/items/{id}"]) == {"get", "put"}
        assert "/api/shop/inner" not in paths
        item = paths["/api/shop/items/{id}"]["get"]
        assert [(p["name"], p["in"], p["required"]) for p in item["parameters"]] == [
            ("id", "path", True),
            ("color", "query", False),
        ]
        assert item["summary"] == "Read an item."
        start = paths["/api/tasks/{name}"]["post"]
        body = start["requestBody"]["content"]["application/json"]["schema"]
        assert "params" in body["properties"]
        stream = paths["/api/contexts/{context_id}/tree/stream"]["get"]
        assert "Last-Event-ID" in {param["name"] for param in stream["parameters"]}
        assert {"200", "206", "416"} <= set(
            paths["/api/contexts/{context_id}/logs"]["get"]["responses"]
        )
        assert set(paths["/api/contexts/{context_id}/files/{name}"]) == {"put"}
        assert set(paths["/api/run/events"]) == {"post"}
        assert set(OPERATIONS) <= set(paths)
        page = await client.get("/api")
        assert "/api/shop/items/{id}" in page.text
        assert "http://" not in page.text.replace("http-equiv", "")


@pytest.mark.timeout(900)  # minutes on a machine that does other things too
async def test_schemathesis_finds_nothing(store, tmp_path):
    """Thousands of requests of all kinds, right and wrong ones, by somebody who may do all."""
    async with served(store, tmp_path, working=False) as client:
        document = (await client.get("/openapi.json")).json()
        keep_one_route(document["paths"])
        # What waits forever, and what fails on purpose, promises nothing; what-if starts processes.
        for path in list(document["paths"]):
            if path.endswith(
                ("/busy", "/bug", "/taken", "/moved", "/result", "/wait", "/tasks/run", "/stream")
            ) or path.startswith("/api/contexts/whatif"):
                del document["paths"][path]
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(document))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", str(file),
            "--url", str(client.base_url), "--checks", CHECKS, "--max-examples", "8",
            "--phases", "coverage,fuzzing", "--seed", "1", "--request-timeout", "20",
            "--header", f"Authorization: {client.headers['Authorization']}",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        output, _ = await process.communicate()
        text = output.decode()
        assert process.returncode == 0, text[-6000:]
        refused = re.search(r"Authentication failed: (\d+) operations", text)
        assert refused, text[-6000:]
        assert int(refused[1]) == 2, text[-6000:]  # of programs, whose token is another one


def keep_one_route(paths):
    """Leave out the route by name of a shipped action that has one of its own: both lead to it.

    Those of the project have both, and are asked by both.
    """
    routes = Counter(action_of(operations) for operations in paths.values())
    for path, operations in list(paths.items()):
        action = action_of(operations)
        by_name = path == f"/api/{action.replace('.', '/')}"
        if by_name and routes[action] > 1 and not action.startswith("shop."):
            del paths[path]


def action_of(operations):
    """The action of a path, or the path itself where it is a fixed one."""
    operation = next(iter(operations.values()))
    name, _, path = operation["operationId"].partition("__")
    tags = operation.get("tags", [""])[0]
    return f"{tags}.{name.partition(f'_{tags}_')[2]}" if path else name
