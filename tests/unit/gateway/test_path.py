"""Paths of routes: what fits them, in linear time."""

import pytest

from dama.gateway.errors import RequestError
from dama.gateway.path import MOST_PARTS, Path, PathError, split

FITS = [
    ("/", "/", {}),
    ("/things", "/things/", {}),
    ("/things/:id", "/things/7", {"id": "7"}),
    ("/things/:id", "/things/a%20b", {"id": "a b"}),
    ("/things/:id", "/things/a%2Fb", {"id": "a/b"}),
    ("/things/:id", "/things", None),
    ("/things/:id", "/things/7/8", None),
    ("/things/:id", "/things//", None),
    ("things//:id/", "/things/7", {"id": "7"}),
    ("/things/:id?", "/things/7", {"id": "7"}),
    ("/things/:id?", "/things", {}),
    ("/things/:id?", "/things/7/8", None),
    ("/:a?/x/:b?", "/x", {}),
    ("/:a?/x/:b?", "/x/x", {"a": "x"}),
    ("/:a?/x/:b?", "/1/x/2", {"a": "1", "b": "2"}),
    ("/files/:path*", "/files", {}),
    ("/files/:path*", "/files/a/b%20c", {"path": ["a", "b c"]}),
    ("/files/:path+", "/files", None),
    ("/files/:path+", "/files/a", {"path": ["a"]}),
    ("/:path*/raw", "/a/b/raw", {"path": ["a", "b"]}),
    ("/:path*/raw", "/raw", {}),
    ("/:path+/:last?", "/a/b/c", {"path": ["a", "b", "c"]}),
    ("/:name.:type", "/a.b.csv", {"name": "a.b", "type": "csv"}),
    ("/:name.json", "/a.json", {"name": "a"}),
    ("/:name.json", "/.json", None),
    ("/v:major-:minor", "/v1-2", {"major": "1", "minor": "2"}),
    ("/v:major-:minor", "/v1", None),
    ("/v:major-:minor", "/vv1-2", None),
    ("/:a-to-:b.csv", "/x-to-y.csv", {"a": "x", "b": "y"}),
    ("/:a-to-:b.csv", "/x-to-y-to-z.csv", {"a": "x-to-y", "b": "z"}),
    ("/:a-to-:b.csv", "/-to-y.csv", None),
    ("/:a-to-:b.csv", "/x-to-.csv", None),
    ("/:a-to-:b.csv", "/x-ty.csv", None),
    ("/:a.csv", "/a.csv.csv", {"a": "a.csv"}),
]


@pytest.mark.parametrize(("path", "asked", "params"), FITS)
def test_a_path_fits_or_not(path, asked, params):
    assert Path(path).match(split(asked)) == params


@pytest.mark.parametrize(
    "path",
    [
        "/:id(\\d+)", "/(.*)", "/*", "/:a:b", "/:id/:id", "/:a*/:b*", "/:a+/x/:b*", "/x:id?",
        "/:name.:type?", "/a b", "/{id}", "/[ab]", "/a|b",
    ],
)  # fmt: skip
def test_what_cannot_be_matched_is_refused_and_not_a_silent_404(path):
    with pytest.raises(PathError):
        Path(path)


@pytest.mark.parametrize("text", ["%", "%2", "%zz", "%ff", "%c3%28"])
def test_a_param_that_is_not_utf_8_is_refused(text):
    """Nothing is changed silently: U+FFFD would be another name."""
    with pytest.raises(RequestError, match="percent-encoding"):
        Path("/:id").match([text])


def test_a_path_of_very_many_parts_fits_no_path_that_repeats():
    """What is looked for grows with the parts of both: it has a bound."""
    assert Path("/:path+").match(["x"] * MOST_PARTS) is not None
    assert Path("/:path+").match(["x"] * (MOST_PARTS + 1)) is None


def test_long_paths_come_first_and_fixed_parts_before_params():
    paths = ["/:a", "/a", "/a/:b", "/:a/:b", "/a/b"]
    ranked = sorted(paths, key=lambda path: Path(path).rank)
    assert ranked == ["/a/b", "/a/:b", "/:a/:b", "/a", "/:a"]


def test_the_document_has_a_path_with_and_without_what_may_be_missing():
    assert Path("/a/:b/:c?").templates() == ["/a/{b}/{c}", "/a/{b}"]
    assert Path("/a/:b*").templates() == ["/a/{b}", "/a"]
    assert Path("/a/:b+").templates() == ["/a/{b}"]
