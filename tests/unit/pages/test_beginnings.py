"""What is shown of a file follows from its content, is bounded, and is text."""

import pytest

from dama.pages.beginnings import COLUMNS, READ, ROWS, SHOWN, read

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.mark.parametrize(
    ("name", "data", "kind", "is_cut"),
    [
        ("a.png", PNG, "image", False),
        ("a.txt", PNG, "image", False),
        ("a.png", b"<script>alert(1)</script>", "text", False),
        ("a.svg", b"<svg onload='alert(1)'/>", "text", False),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image", False),
        ("a.bin", b"\xff\xfe\0\1", "none", False),
        ("a.txt", b"a\0b", "none", False),
        ("a.txt", b"", "text", False),
        ("a.txt", b"x" * (SHOWN + 1), "text", True),
        ("a.txt", b"x" + "ü".encode() * READ, "text", True),  # a character is cut in two
        ("a.json", b'{"a": [1, 9007199254740993]}', "text", False),
        ("a.json", b"[" * 5000, "text", False),
        ("a.csv", b"a,b\n1,2\n", "table", False),
        ("a.TSV", b"a\tb\n", "table", False),
        ("a.csv", b"a,b\n" * READ, "table", True),
        ("a.csv", b",".join([b"x"] * (COLUMNS + 1)), "table", True),
    ],
)
def test_a_preview_is_what_its_content_is_and_is_bounded(tmp_path, name, data, kind, is_cut):
    path = tmp_path / name
    path.write_bytes(data)

    found = read(path)

    assert (found.kind, found.size, found.is_cut) == (kind, len(data), is_cut)
    assert len(found.text) <= SHOWN
    assert len(found.rows) <= ROWS + 1


def test_numbers_of_json_are_exact_and_what_controls_a_terminal_is_seen(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a":9007199254740993}')
    (tmp_path / "a.csv").write_bytes(b"a,\x1b[31m\n")

    assert '"a": 9007199254740993' in read(tmp_path / "a.json").text
    assert "\x1b" not in read(tmp_path / "a.csv").rows[0][1]
