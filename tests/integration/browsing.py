"""A browser without JavaScript: keeps cookies, reads pages, fills in their forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from typing_extensions import override

from tests.plain_http import NO_TLS

FIELDS = ("input", "textarea", "select")


@dataclass
class Form:
    """A form of a page, as it is before somebody fills it in."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a person finds on a page."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.status = response.status_code
        self.headers = response.headers
        self.url = response.url
        self.source = response.text
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(response.text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "form":
            self.forms.append(Form(values.get("method") or "get", values.get("action") or ""))
        elif tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        elif (
            tag in FIELDS and self.forms and values.get("name") and values.get("type") != "checkbox"
        ):
            self.forms[-1].fields[str(values["name"])] = values.get("value") or ""

    @override
    def handle_data(self, data: str) -> None:
        self.text += data

    def form(self, action: str) -> Form:
        """The form that is sent to a path."""
        return next(form for form in self.forms if form.action == action)

    def rows(self) -> list[str]:
        """The ids of the rows of its tables."""
        return [str(v["id"]) for tag, v in self.tags if tag == "tr" and v.get("id")]


class Browser:
    """A browser that has logged in with a token.

    Args:
        address: Of the gateway.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.client = httpx.AsyncClient(
            base_url=self.address, timeout=60, follow_redirects=True, verify=NO_TLS
        )

    async def login(self, token: str) -> Page:
        """Paste a token."""
        return await self.post("/login", {"token": token})

    async def get(self, path: str, **headers: str) -> Page:
        """Follow a link."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Page(await self.client.get(path, headers=named))

    async def post(self, path: str, fields: Any, **headers: str) -> Page:
        """Send fields as a page of this server does."""
        named = {"Origin": self.address}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return Page(await self.client.post(path, data=fields, headers=named))

    async def send(self, form: Form, **filled: Any) -> Page:
        """Fill in a form and send it."""
        return await self.post(form.action, {**form.fields, **filled})
