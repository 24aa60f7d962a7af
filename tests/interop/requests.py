"""Requests of many kinds, for moleculer-web and for our gateway: those that both answer alike.

`DIFFERENT` has those of the table in docs/howto/gateway.md that one request shows: what
moleculer-web answers and what we do, as a status and JSON.
"""

from __future__ import annotations

import json
from typing import Any

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Request = tuple[str, str, bytes, dict[str, str]]


def answered(value: Any = None, **meta: Any) -> Request:
    """A call of an action that gives a value and says what its answer is like."""
    told = {"value": value, "meta": {f"${name}": each for name, each in meta.items()}}
    return ("POST", "/api/js/answer", json.dumps(told).encode(), JSON)


def failed(error: str, *args: Any) -> Request:
    """A call of an action that raises an error of a class."""
    return ("POST", "/api/js/fails", json.dumps({"error": error, "args": args}).encode(), JSON)


def got(path: str) -> Request:
    """A GET."""
    return ("GET", f"/api/js/{path}", b"", {})


def sent(body: bytes, kind: str = "application/json", path: str = "echo") -> Request:
    """A POST of a body of a type."""
    return ("POST", f"/api/js/{path}", body, {"Content-Type": kind})


BUFFER = {"type": "Buffer", "data": [104, 105]}
PLAIN = {"responseType": "text/plain"}
ALIKE: list[Request] = [
    *(answered(v) for v in (True, False, 0, 1.5, -3, "", "text", None, {}, [], {"a": None})),
    *(answered(v) for v in ([1, "x", None], "\N{PARTY POPPER}", BUFFER)),
    *(answered(v, **PLAIN) for v in ({"a": 1}, 5, True, None, [1], "\N{PARTY POPPER}")),
    answered("<b>", responseType="text/html; charset=iso-8859-1"),
    answered(BUFFER, responseType="image/png"),
    *(answered("x", statusCode=code) for code in (201, 204, 299, 304, "202", 202.0)),
    answered(None, statusCode=201),
    *(answered(None, statusCode=code, location="/x") for code in (300, 301, 303, 307, 308)),
    answered(None, statusCode=302, location="rel/path?a=b&c=%20#d"),
    answered("body", statusCode=302, location="/x"),
    answered("x", location="/x"),
    answered({"id": 1}, statusCode=201, location="/x/1"),
    answered(None, statusCode=302),
    *(
        answered("x", responseHeaders=headers)
        for headers in (
            {"X-Made": "a", "x-made": "b"}, {"Content-Type": "text/x-y"}, {"Location": "/q"},
            {"X-Made": ["a", "b"]}, {"X-Made": ""}, {"X-Made": 0}, {}, None,
            {"Set-Cookie": "a=b; Path=/; HttpOnly"}, {"Content-Disposition": "attachment"},
        )
    ),
    ("POST", "/api/js/typedStream", b"", {}),
    *map(got, ("answer?value=x", "answer?value=", "answer", "numbers?count=3", "one/1")),
    ("HEAD", "/api/js/answered?value=abc", b"", {}),
    ("GET", "/api/js/any-method?x=1", b"", {}),
    ("PATCH", "/api/js/any-method", b'{"a":1}', JSON),
    ("DELETE", "/api/js/any-method?z=1", b"", {}),
    ("PUT", "/api/js/two/2", b'{"b":"body","c":3}', JSON),
    ("POST", "/api/js/echo/", b"", {}),
    *(
        got(f"things/{part}")
        for part in (
            "7/", "a+b", "a%2Bb", "%F0%9F%8E%89", "a;b=c", "a%3Fb", "a%23b", "..%2Fx", "%20", "a.b",
            "a:b", "a%00b", "0", "7?id=8",
        )
    ),
    *(
        got(f"echo?{query}")
        for query in (
            "a=%zz", "a=b=c", "=x", "&&a=1&", "a+b=c+d", "a%5Bb%5D%5Bc%5D=1",
            "a[b]=1&a[c]=2&a[b]=3", "a[]=1", "a[b][]=1&a[b][]=2", "a]b=1", "[a]=1", "[a][b]=1",
            "a;b=1", "a=1;b=2", "a=1,2", "a=true&b=null&c=1.5", "%61=1", "a[%20]=1", "A=1&a=2",
            "$where=1",
        )
    ),
    sent(b'{"a":1}', "application/json; charset=utf-8"),
    sent(b'{"a":1}', 'application/json; charset="UTF-8"'),
    sent(b'{"a":1}', "APPLICATION/JSON"),
    sent(b'\xef\xbb\xbf{"a":1}'),
    sent(b'  {"a":1}\n'),
    sent(b'{"a":1,"a":2}'),
    sent(b'{"a":1e3,"b":1.0}'),
    sent(b"a=1&a=2&b[]=3&c%20d=e+f", FORM["Content-Type"]),
    sent(b"a", FORM["Content-Type"]),
    sent(b"=", FORM["Content-Type"]),
    sent(b"a=1&&b=2", FORM["Content-Type"]),
    sent(b"", FORM["Content-Type"]),
    sent(b""),
    ("DELETE", "/api/js/echo", b'{"a":1}', JSON),
    ("PATCH", "/api/js/echo", b'{"x":1}', JSON),
    ("POST", "/api/js.echo", b"", {}),
    got("tree/"),
]  # fmt: skip
ALIKE_ERRORS: list[Request] = [
    failed("MoleculerError", "m", 500, "T", {"a": 1}),
    failed("MoleculerError", "m", 418, "TEA", None),
    failed("MoleculerClientError", "m", 422, "X", [1]),
    failed("MoleculerServerError", "m", 502, "X", {}),
    failed("MoleculerRetryableError", "m", 503, "R"),
    failed("ValidationError", "bad", "V", [{"field": "a"}]),
    failed("ServiceNotFoundError", {"action": "x.y", "nodeID": "n"}),
    failed("ServiceNotAvailableError", {"action": "x.y"}),
    failed("RequestTimeoutError", {"action": "x", "nodeID": "n"}),
    failed("RequestSkippedError", {"action": "x"}),
    failed("RequestRejectedError", {"action": "x"}),
    failed("QueueIsFullError", {"action": "x", "nodeID": "n", "size": 1, "limit": 1}),
    failed("MaxCallLevelError", {"nodeID": "n", "level": 3}),
    failed("BrokerDisconnectedError"),
    failed("InvalidPacketDataError"),
    failed("ServiceSchemaError", "m", {"a": 1}),
    *(failed("MoleculerError", "m", code, "X") for code in (99, 200, 302, 700)),
]

DIFFERENT: dict[str, tuple[Request, tuple[int, Any], tuple[int, Any]]] = {
    "HEAD is there for no other method": (
        got("answered"), (404, "SERVICE_NOT_FOUND"), (405, "METHOD_NOT_ALLOWED"),
    ),
    "a type that nobody gave": (
        failed("MoleculerClientError", "m"), (400, None), (400, "CALL_FAILED"),
    ),
    "a code that is none": (
        failed("MoleculerError", "m", "abc", "X"), (500, "X"), (500, "INTERNAL"),
    ),
    "two slashes at the end": (got("things/7//"), (200, {"id": "7"}), (404, "NOT_FOUND")),
    "what is not UTF-8 in a query": (
        got("echo?a=%ff"), (200, {"a": "%ff"}), (400, "BAD_REQUEST"),
    ),
    "a list of objects in a query": (
        got("echo?a[][b]=1"), (200, {"a": [{"b": "1"}]}), (400, "BAD_REQUEST"),
    ),
    "a bracket that does not close": (
        got("echo?a[b=1"), (200, {"a": {"[b": "1"}}), (400, "BAD_REQUEST"),
    ),
    "a name of JavaScript": (
        got("echo?__proto__=1&hasOwnProperty=2"), (200, {}),
        (200, {"__proto__": "1", "hasOwnProperty": "2"}),
    ),
    "a name of JavaScript in JSON": (
        sent(b'{"__proto__": {"x": 1}}'), (200, {}), (200, {"__proto__": {"x": 1}}),
    ),
    "another kind of JSON": (
        sent(b'{"a":1}', "application/vnd.api+json"), (200, {}), (200, {"a": 1}),
    ),
    "a text": (sent(b'{"a":1}', "text/plain"), (200, {}), (415, "UNSUPPORTED_MEDIA_TYPE")),
    "JSON in UTF-16": (
        sent('{"a":1}'.encode("utf-16"), "application/json; charset=utf-16"), (200, {"a": 1}),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    "JSON in Latin-1": (
        sent(b'{"a":"\xfc"}', "application/json; charset=iso-8859-1"),
        (415, "charset.unsupported"), (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    "a form in Latin-1": (
        sent(b"a=%FC", "application/x-www-form-urlencoded; charset=iso-8859-1"),
        (415, "charset.unsupported"), (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    "a number as the body": (sent(b"5"), (200, {}), (200, 5)),
    "a list beside a query": (
        sent(b"[1]", path="echo?a=1"), (200, {"0": 1, "a": "1"}), (400, "INVALID_REQUEST_BODY"),
    ),
    "an escaped letter of a name": (
        ("POST", "/api/%6As/echo", b"", {}), (404, "SERVICE_NOT_FOUND"), (200, {}),
    ),
    "a slash within a name": (
        ("POST", "/api/js%2Fecho", b"", {}), (404, "SERVICE_NOT_FOUND"), (404, "NOT_FOUND"),
    ),
    "nothing": (
        ("POST", "/api/js/echo/more", b"", {}), (404, "SERVICE_NOT_FOUND"), (404, "NOT_FOUND"),
    ),
}  # fmt: skip
