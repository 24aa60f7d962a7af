"""Requests of many kinds, for moleculer-web and for our gateway: those that both answer alike.

`DIFFERENT` has those of the table in docs/howto/gateway.md that one request shows: what
moleculer-web answers and what we do, as a status and JSON.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def run(body: str) -> Request:
    """A call of an action whose body is JavaScript."""
    return ("POST", "/api/js/script", json.dumps({"bare": True, "body": body}).encode(), JSON)


def coded(body: bytes, encoding: str, kind: Mapping[str, str] = JSON) -> Request:
    """A POST of a body that is compressed."""
    return ("POST", "/api/js/echo", body, {**kind, "Content-Encoding": encoding})


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
    *(answered(None, statusCode=code, location="/x") for code in (300, 301, 303, 304, 307, 308)),
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
    # Paths.
    *(
        got(path)
        for path in (
            "things/7?", "things/%E2%98%83", "things/a|b", "things/a%5Bb", "things/$id",
            "things/a'b", "things/(x)", "things/a,b", "things/a@b", "things/a=b&c=d", "things/~x",
            "things/%7E", "things/%2e%2e", "things/%2E", "things/a%5Cb", "things/a%3Bb",
            "things/a%22b", "things/%0A", "things/%7F", "tree/a/", "most/a/", "files/x.csv",
            "files/a.b.c.csv", "files/a%2Fb.csv", "maybe?year=5", "maybe/1?year=5", "tree/a?path=x",
            "one/1?a=2", "any-method/", "unnamed/", "unnamed?x=1",
        )
    ),
    # Queries.
    *(
        got(f"echo?{query}")
        for query in (
            "a", "a&a", "a[]=&a[]=", "a[b]", "a[0][]=1", "a[b][0]=x&a[b][1]=y", "a[-1]=x",
            "a[1.5]=x", "a[+1]=x", "a=1&b=2&a=3", "a.b=1", "a%00=1", "a=%00", "a=1%26b", "a=+%2B",
            "[0]=1", "a]=1", "1=2", "a[length]=5", "a=1?b=2", "%", "a=%", "a[1]=x&a[1]=y",
            "a[]=1&a=2", "a=1&a[]=2", "?a=1", "&", "==", "a==", "a[]=1,2", "a=[1,2]", 'a={"b":1}',
            "a[ ]=1", "a[0]=1&a[2]=2", "a[5]=x&a[b]=y", "a[0][0]=x", "a%255B0%255D=1", "a[%30]=1",
            "a=%C3%BC", "a=b;c=d", "a[1e3]=1", "a[00]=1",
        )
    ),
    # Bodies.
    *(
        sent(body)
        for body in (
            b'{"a":' + b"[" * 50 + b"]" * 50 + b"}", b'{"a":-0}', b'{"a":1e-7}', b'{"a":1e21}',
            b'{"a":"\\u0000"}', b'{"":1}', b'{"a":"\\u2028"}', b"null",
        )
    ),
    *(sent(b'{"a":1}', f"application/{rest}") for rest in ("JSON;q=1", "json ; charset=UTF-8")),
    *(
        sent(body, FORM["Content-Type"])
        for body in (b"a=%zz", b"a%5B%5D=1&a%5B%5D=2", b"a[b][c]=1", b"a=\xc3\xbc", b"a=1;b=2")
    ),
    coded(gzip.compress(b'{"a":1}', mtime=0), "gzip"),
    coded(zlib.compress(b'{"a":1}'), "deflate"),
    coded(gzip.compress(b"a=1&b[]=2", mtime=0), "GZIP", FORM),
    coded(b'{"a":1}', "identity"),
    ("GET", "/api/js/echo", b'{"a":1}', JSON),
    ("DELETE", "/api/js/echo?b=2", b'{"a":1}', JSON),
    ("GET", "/api/js/answer?value=hello", b"", {"Range": "bytes=0-1"}),
    ("GET", "/api/js/things/7", b"", {"If-None-Match": "*"}),
    ("GET", "/api/js/things/7", b"", {"If-None-Match": '"x", "y"'}),
    ("GET", "/api/js/things/7", b"", {"Accept": "text/html", "X-HTTP-Method-Override": "DELETE"}),
    # Answers.
    *(answered({"a": 1}, statusCode=code) for code in (206, 226, 404, 418, 451, 599, "404", None)),
    *(answered({"a": 1}, responseType=kind) for kind in ("text/csv", "", "TEXT/PLAIN", 5)),
    *(answered("text", responseType=kind) for kind in ("image/svg+xml", None)),
    *(
        answered("x", responseHeaders=headers)
        for headers in (
            {"X-Made": True}, {"X-Made": 1.5}, {"X-Made": []}, {"X-Made": ["a", 5]}, {"Vary": "X"},
            {"Content-Type": "text/html", "X-Made": "1"}, [], "x", 5, {"X-Frame-Options": "DENY"},
        )
    ),
    *(
        answered({"a": 1}, statusCode=201, location=location)
        for location in ("http://x/y", "//x", "", 5, None, ["/a"])
    ),
    *(
        run(body)
        for body in (
            "return new Date(0)", "return NaN", "return undefined", "return Buffer.alloc(0)",
            "return Buffer.from('x')", "return {b: [Buffer.from('x')]}", "return new Map([[1, 2]])",
            "return [undefined, () => 1]", "return {a: undefined}", "return new Uint8Array([1, 2])",
            "return '\"x\"'", "return tools.Readable.from([], {objectMode: false})",
            "return tools.Readable.from(['a', 'b'], {objectMode: false})",
            "ctx.meta.$statusCode = 201; return tools.Readable.from(['a'], {objectMode: false})",
        )
    ),
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
    failed("MoleculerError", "\xe9\N{SNOWMAN}", 400, "\xe9\N{SNOWMAN}"),
    run(
        "class My extends tools.Errors.MoleculerClientError {};"
        " throw new My('m', 409, 'T', { a: Buffer.from('x'), n: [1, null] })"
    ),
    run(
        "const e = new Error('m'); Object.assign(e, { code: 404, type: 'X', data: { a: 1 } });"
        " throw e"
    ),
    run("ctx.meta.$statusCode = 404; throw new tools.Errors.MoleculerError('m', 409, 'T')"),
    run("ctx.meta.$location = '/x'; throw new tools.Errors.MoleculerError('m', 302, 'T')"),
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
    "a list of lists in a query": (
        got("echo?a[][]=1"), (200, {"a": ["1"]}), (400, "BAD_REQUEST"),
    ),
    "a list without a name": (got("echo?[]=1"), (200, {"0": "1"}), (400, "BAD_REQUEST")),
    "a form that contradicts itself": (
        sent(b"a=1&a[b]=2", FORM["Content-Type"]), (200, {"a": ["1", {"b": "2"}]}),
        (400, "BAD_REQUEST"),
    ),
    "an empty list beside a query": (
        sent(b"[]", path="echo?x=1"), (200, {"x": "1"}), (400, "INVALID_REQUEST_BODY"),
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
    "a name twice": (
        sent(b'{"a":1,"a":2}'), (200, {"a": 2}), (400, "INVALID_REQUEST_BODY"),
    ),
    "half of a surrogate pair": (
        sent(b'{"a":"\\ud83d"}'), (200, {"a": "\ud83d"}), (400, "INVALID_REQUEST_BODY"),
    ),
    "a number that no double holds": (
        sent(b'{"a":1e400}'), (200, {"a": None}), (400, "INVALID_REQUEST_BODY"),
    ),
    "JSON that is not UTF-8": (
        sent(b'{"a":"\xff"}'), (200, {"a": "\ufffd"}), (400, "INVALID_REQUEST_BODY"),
    ),
    "another word for UTF-8": (
        sent(b'{"a":1}', "application/json; charset=utf8"), (415, "charset.unsupported"),
        (200, {"a": 1}),
    ),
    "a type that is not complete": (
        sent(b'{"a":1}', "application/json;"), (200, {}), (200, {"a": 1}),
    ),
    "a body without a type": (sent(b'{"a":1}', ""), (200, {}), (200, {"a": 1})),
    "files of a form": (
        sent(b"--x--", "multipart/form-data; boundary=x"), (200, {}),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    "an encoding that nobody knows": (
        coded(b'{"a":1}', "x"), (415, "encoding.unsupported"), (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    "a body that is not what its encoding says": (
        coded(b'{"a":1}', "gzip"), (500, None), (400, "INVALID_REQUEST_BODY"),
    ),
    "a form of very many fields": (
        sent(b"&".join(b"k%d=1" % n for n in range(1001)), FORM["Content-Type"]),
        (413, "parameters.too.many"), (400, "TOO_MANY_FIELDS"),
    ),
    "a query of very many fields": (
        got("echo?" + "&".join(["a=1"] * 1001)), (200, {"a": {str(n): "1" for n in range(1000)}}),
        (400, "TOO_MANY_FIELDS"),
    ),
    "a body of 150 kB": (
        sent(json.dumps({"a": "x" * 150_000}).encode()), (413, "entity.too.large"),
        (200, {"a": "x" * 150_000}),
    ),
    "OPTIONS at a path that has no origins": (
        ("OPTIONS", "/api/js/things/7", b"", {}), (200, {"id": "7"}), (405, "METHOD_NOT_ALLOWED"),
    ),
    "a token that is unknown": (
        ("GET", "/api/js/things/7", b"", {"Authorization": "Basic x"}), (200, {"id": "7"}),
        (401, "INVALID_TOKEN"),
    ),
    "a status that is none": (
        answered({"a": 1}, statusCode=600), (600, None), (200, {"a": 1}),
    ),
    "a name whose brackets go on": (
        got("echo?a[b]c=1"), (200, {"a": {"b": "1"}}), (400, "BAD_REQUEST"),
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
