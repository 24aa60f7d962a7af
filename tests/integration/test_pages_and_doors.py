"""What a page shows the command line, HTTP and SQL give too, word for word as the page says."""

from __future__ import annotations

import html
import json
import re
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dama.domain.event import Event
from dama.pages.shown import shown_duration
from dama.store import Start
from tests.cases import case
from tests.integration.browsing import Browser, Page
from tests.integration.doors import doors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGES = (
    "/", "/contexts", "/contexts?status=CANCELLED&all=1&user=ada&since=2026-01-31T06:30&until=1m",
    '/contexts?task=shop.*&state=delayed&params={"n":1}&since=2d&before=99',
    "/contexts?params=n=1&queue=default&service=shop", "/tasks", "/tasks/shop.double", "/schedules",
    "/schedules/nightly", "/queues", "/workers", "/services", "/services/shop.item", "/log",
    "/doctor", "/tokens", "/diff?a={open}&b={done}&at_b=1", "/diff?a={tree}&at_a=2&b={tree}",
    "/contexts/{tree}/what-if?event=2&slice=lifecycle&payload=%7B%7D&ask=1",
    *(f"/contexts/{{tree}}?tab={tab}{at}" for tab in (
        "events", "state", "tree", "timeline", "log", "params", "artifacts", "moment",
    ) for at in ("", "&at=2")),
    "/lineage?table=mart.daily",
    "/contexts/{tree}?type=o'dd&text=50%25&failed=1",
)  # fmt: skip
# What is only to be read: without its params, its module or its adoption, or a help.
ONLY_READ = ("dama call", "--module next.py", "dama db adopt", "--help")
# Of windows the page has the latest, and these all, or the first.
WIDER = (
    "dama events", "dama schedule ls", "dama token ls", "dama log acts", "dama actions",
    "dama tree", "dama doctor", "dama logs", "dama activity", "dama queue history",
)  # fmt: skip
BLOCK = re.compile(r'<pre data-also="(\w+)">(.*?)</pre>', re.DOTALL)


@pytest.fixture
async def doors(store, tmp_path, monkeypatch, database_url, capsys):
    async with doors_of(store, tmp_path, monkeypatch, capsys, database_url) as doors:
        meta = {"user": "ada"}
        (tree,) = await store.start([Start("shop.total", {"n": 1}, delay=3600, meta=meta)])
        await store.append(tree, [Event("o'dd", {"text": "50%"}), Event("a", {}, error=True)])
        doors.ids["tree"] = tree
        yield doors


@pytest.fixture
async def browser(doors, tmp_path):
    browser = Browser(str(doors.client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text().strip())
    yield browser
    await browser.client.aclose()


def regions(page: Page) -> list[dict[str, str]]:
    """What each region says of the other doors: commands, addresses, statements."""
    found: list[dict[str, str]] = []
    for kind, text in BLOCK.findall(page.source):
        if kind == "command":
            found.append({})
        found[-1][kind] = html.unescape(text)
    return found


async def test_what_a_region_says_of_the_other_doors_is_so(doors, browser, database_url):
    """Each command is typed, each address asked, each statement run; two of them give the same."""
    address, tried = str(doors.client.base_url), set()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for path in PAGES:
            page = await browser.get(path.format(**doors.ids) if '{"' not in path else path)
            assert page.status == 200, (path, page.text)
            assert regions(page), path
            for region in regions(page):
                with case(path, region):
                    documents = [
                        await typed(doors, line)
                        for line in region["command"].splitlines()
                        if line not in tried and not any(each in line for each in ONLY_READ)
                    ]
                    tried |= set(region["command"].splitlines())
                    for line in region.get("http", "").splitlines():
                        if line in tried and not documents:
                            continue
                        tried.add(line)
                        *words, url = shlex.split(line)
                        assert url.startswith(address), url
                        assert words[:3] == ["curl", "-H", "Authorization: Bearer $TOKEN"]
                        answer = await asked(doors, page, words, url)
                        if documents and not region["command"].startswith(WIDER):
                            assert documents.pop(0) == answer
                    for statement in {*region.get("sql", "").split(";\n\n")} - {*tried, ""}:
                        tried.add(statement)
                        await connection.execute(statement)


async def typed(doors, line: str) -> Any:
    out, err, code = await doors.command([*shlex.split(line)[1:], "--json"])
    # Something is different, or wrong; there is no log, as the page says.
    allowed = {"dama diff": 1, "dama doctor": 1, "dama logs": 4}.get(" ".join(line.split()[:2]), 0)
    assert code in (0, allowed), (line, err)
    return steady(json.loads(out)) if not line.startswith(WIDER) else out


async def asked(doors, page: Page, words: Sequence[str], url: str) -> Any:
    path = url.removeprefix(str(doors.client.base_url))
    if "-d" in words:
        headers = {"Content-Type": "application/json"}
        body = words[words.index("-d") + 1]
        answer = await doors.client.post(path, content=body, headers=headers)
        assert answer.status_code in (200, 202, 422), answer.text
        return None
    answer = await doors.client.get(path)
    if path.partition("?")[0].endswith(("/logs", "/artifacts")) and answer.status_code == 404:
        assert answer.json()["message"] in page.text
        return None
    assert answer.status_code == 200, answer.text
    return steady(answer.json())


def steady(document: Any) -> Any:
    """A document without the moment at which it was asked for, and of a window what it holds."""
    if isinstance(document, dict):
        document.pop("now", None)
        if "next_before" in document:
            return document["contexts"]
    return document


def seconds(row: Mapping[str, Any]) -> float:
    ends = [datetime.fromisoformat(row[name]) for name in ("created_at", "modified_at")]
    return (ends[1] - ends[0]).total_seconds()


def shown_of_queues(found: Any) -> list[str]:
    states = ("queued", "delayed", "blocked", "placed", "running", "waiting")
    return [f"{state}</a></dt><dd>{row[state]}<" for row in found for state in states]


def shown_of_list(found: Any) -> list[str]:
    return [f'<td class="number">{shown_duration(seconds(row))}</td>\n'
            f'<td class="number">{row["version"]}</td>'
            for row in found if row["status"] == "CANCELLED"]  # fmt: skip


NUMBERS = [
    ("/queues", ["queue", "ls"], "/api/queues", shown_of_queues),
    ("/", ["queue", "ls"], "/api/queues",
     lambda found: [f"<dd>{row['queued']} queued" for row in found]
     + [f"{row['delayed']} delayed" for row in found if row["delayed"]]),
    ("/contexts", ["ls"], "/api/contexts", shown_of_list),
    ("/contexts/{done}", ["show", "{done}"], "/api/contexts/{done}",
     lambda found: [f"<dt>Took</dt><dd>{shown_duration(seconds(found))}<",
                    f"event {found['version']} of {found['version']}"]),
    ("/contexts/{done}?tab=timeline", ["timeline", "{done}"], "/api/contexts/{done}/timeline",
     lambda found: [f'<td class="number">{shown_duration(lane_seconds(found["own"]))}</td></tr>']),
    ("/schedules", ["schedule", "ls"], "/api/schedules",
     lambda found: [f'<td class="number">{row["started"]}</td><td class="number">{row["skipped"]}'
                    for row in found]),
    ("/log", ["log", "status"], "/api/log",
     lambda found: [f"{found['position']} events in one order"]),
    ("/contexts/{tree}?tab=tree", ["tree", "{tree}"], "/api/contexts/{tree}/tree",
     lambda found: [f"shop.double: <span class=\"is-cancelled\">{counted(found, 'CANCELLED')}",
                    f"{counted(found, 'OPEN')} open"]),
]  # fmt: skip


def lane_seconds(lane: Mapping[str, Any]) -> float:
    ends = [datetime.fromisoformat(lane[name]) for name in ("begin", "end")]
    return (ends[1] - ends[0]).total_seconds()


def counted(found: Any, status: str) -> int:
    return sum(row["status"] == status for row in found if row["parent_id"])


async def test_the_numbers_of_a_page_are_those_of_the_other_doors(doors, browser, store):
    """Counts, durations and depths."""
    tree = doors.ids["tree"]
    await store.start([Start("shop.double", {"n": n}, queue="etl") for n in range(7)])
    later = [Start("shop.double", {"n": n}, delay=3600) for n in range(5)]
    children = await store.start(later, parent=tree)
    await store.cancel(children[:3], "no need", {})
    for path, command, address, shown in NUMBERS:
        with case(path):
            out, err, code = await doors.command([*command, "--json"])
            assert code == 0, err
            answer = steady((await doors.request("GET", address)).json())
            assert steady(json.loads(out)) == answer
            source = (await browser.get(path.format(**doors.ids))).source
            assert shown(answer)
            for text in shown(answer):
                assert text in source, text
