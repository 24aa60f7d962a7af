"""The OpenAPI document: valid, and true. schemathesis asks what it promises."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

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
    """Two hundred requests of all kinds, right and wrong ones."""
    async with served(store, tmp_path, working=False) as client:
        document = (await client.get("/openapi.json")).json()
        # What waits forever, and what fails on purpose, promises nothing.
        for path in list(document["paths"]):
            if path.endswith(
                ("/busy", "/bug", "/taken", "/moved", "/result", "/wait", "/tasks/run", "/stream")
            ):
                del document["paths"][path]
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(document))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", str(file),
            "--url", str(client.base_url), "--checks", CHECKS, "--max-examples", "8",
            "--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "20",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-6000:]
