"""Lines of a growing file: each once, wherever reading stopped, and never much of it in memory."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.secrets import Secrets
from dama.programs import lines, tail
from dama.programs.lines import Line, LineReader, Place
from dama.programs.shim.logs import KEEP_SIZE_PUNCH_HOLE, libc
from dama.programs.tail import (
    LONGEST_LINE,
    PART,
    Growing,
    Screen,
    place_of_last_lines,
    read_range,
)

MARK = b"::"
pieces = st.lists(
    st.sampled_from([b"::", b":", b"\n", b"a", b"\r", b"::b\n", b"\xff"]), max_size=30
)


def wanted(data, mark):
    """What the reader should find, said in the simplest way."""
    found, offset = [], 0
    for line in data.split(b"\n"):
        if line.startswith(mark) and (offset + len(line) < len(data) or line):
            found.append(Line(offset, line.removeprefix(mark)))
        offset += len(line) + 1
    return found


@given(parts=st.lists(pieces, max_size=6), mark=st.sampled_from([b"", MARK]), again=st.booleans())
def test_every_line_is_found_once_however_the_file_grows(tmp_path_factory, parts, mark, again):
    """Also when another reader continues from the place that the first one has kept."""
    path = tmp_path_factory.mktemp("lines") / "file"
    path.touch()
    reader, found = LineReader(path, mark, Place()), []
    for part in parts:
        with path.open("ab") as file:
            file.write(b"".join(part))
        if again:
            reader = LineReader(path, mark, reader.place)
        while (news := reader.read()) is not None:
            found += news
    while (news := reader.read(is_last=True)) is not None:
        found += news
    assert found == wanted(path.read_bytes(), mark)


def test_a_line_of_any_length_takes_little_memory(tmp_path, monkeypatch):
    """It is left out, that is said, and the next one is found."""
    monkeypatch.setattr(lines, "CHUNK", 1000)
    monkeypatch.setattr(lines, "LONGEST", 5000)
    path = tmp_path / "file"
    path.write_bytes(b"first\n" + b"x" * 100_000 + b"\nlast\n")
    reader, found = LineReader(path, b"", Place()), []
    while (news := reader.read()) is not None:
        found += news
        assert len(reader._kept) <= 6000
    assert [(line.offset, line.text) for line in found] == [
        (0, b"first"),
        (6, b""),
        (100_007, b"last"),
    ]
    assert "5,000 bytes" in found[1].problem


def test_a_file_that_was_begun_anew_is_read_anew(tmp_path):
    """Somebody wrote > for >>."""
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\n")
    reader = LineReader(path, b"", Place())
    reader.read()
    path.write_bytes(b"c\n")
    (told,) = reader.read()
    assert "begun again" in told.problem
    assert reader.read() == [Line(0, b"c")]
    assert reader.place.generation == 1


def test_what_the_cap_has_taken_is_told(tmp_path):
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, b"x\n::after\n", 1 << 20)
    os.close(descriptor)
    reader = LineReader(path, MARK, Place())
    (told,) = reader.read()
    assert "beyond the cap" in told.problem
    assert [line.text for line in reader.read()] == [b"after"]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
@pytest.mark.parametrize(
    "text", ["", "a\n", "a\nb\nc\n", "a\nb\nc", "\n\n\n", "x" * 70_000 + "\nb"]
)
def test_the_last_lines_are_where_they_begin(tmp_path, text, count):
    path = tmp_path / "file"
    path.write_text(text)
    shown = text[place_of_last_lines(path, count) :]
    kept = text.splitlines(keepends=True)
    assert shown == "".join(kept[len(kept) - count :] if count <= len(kept) else kept)


@given(pieces, st.integers(1, 5))
def test_a_screen_shows_the_same_in_parts_of_any_size(parts, size):
    data = b"".join(parts)
    screen, shown = Screen(), []
    for place in range(0, len(data), size):
        shown += screen.show(data[place : place + size])
    whole = Screen()
    assert [*shown, screen.rest()] == [*whole.show(data), whole.rest()]


def numbered(path, *numbers):
    """Append lines of eight bytes."""
    with path.open("ab") as file:
        file.writelines(b"%07d\n" % number for number in numbers)


def take(path, size):
    """As the cap does, in whole blocks."""
    with path.open("r+b") as file:
        assert libc().fallocate(file.fileno(), KEEP_SIZE_PUNCH_HOLE, 0, size) == 0


def test_what_the_cap_takes_from_a_log_that_is_followed_is_said(tmp_path):
    """No line is cut, joined to another one or shown twice, wherever reading stopped."""
    path, gaps = tmp_path / "log", []
    numbered(path, *range(100))
    with path.open("ab") as file:
        file.write(b"half a l")
    log = Growing(path, on_gap=lambda *gap: gaps.append(gap))
    first = [*log.news()]
    numbered(path, *range(101, 20_000))
    take(path, 65_536)
    second = [*log.news()]
    numbered(path, 20_000)
    third = [*log.news()]

    assert first == [f"{n:07}" for n in range(100)]
    assert second == [f"{n:07}" for n in range(int(second[0]), 20_000)]
    assert int(second[0]) in (8192, 8193)
    assert third == ["0020000"]
    assert gaps == [(808, int(second[0]) * 8 - 808)]


def test_a_log_that_is_followed_and_begun_again_is_shown_from_its_beginning(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a long line\nanother")
    log = Growing(path)
    assert [*log.news()] == ["a long line"]
    path.write_bytes(b"x\n")
    assert [*log.news()] == ["x"]


def test_what_the_cap_takes_while_it_is_read_is_not_shown_as_zeros(tmp_path):
    path = tmp_path / "log"
    numbered(path, *range(100_000))
    parts = read_range(path, 0, path.stat().st_size)
    found = next(parts)
    take(path, 400_000 // 4096 * 4096)
    found += b"".join(parts)

    assert b"\0" not in found
    lines = [int(line) for line in found.splitlines()]
    assert lines == sorted(set(lines))
    assert lines[-1] == 99_999


@pytest.mark.parametrize("begin", range(20))
def test_a_range_has_no_part_of_a_secret(tmp_path, begin):
    """Whatever of it is within the range."""
    path, secrets = tmp_path / "log", Secrets(["hunter-22"])
    path.write_bytes(b"abcdefhunter-22ghijkl\n")
    for end in range(begin, 22):
        found = b"".join(read_range(path, begin, end, secrets))
        assert found == b"abcdef*********ghijkl\n"[begin:end]


def test_a_secret_between_two_parts_is_not_shown(tmp_path):
    path, secrets = tmp_path / "log", Secrets(["hunter-22"])
    path.write_bytes(b"x" * (PART - 4) + b"hunter-22\n" + b"y" * LONGEST_LINE + b"hunter-22" * 9)
    for found in (tail.lines(path, secrets), Growing(path, secrets=secrets).news()):
        shown = "\n".join(found)
        assert shown.count("*") >= 9
        assert "hunter" not in shown
        assert "22" not in shown


def test_a_secret_that_comes_in_two_writes_is_not_shown(tmp_path):
    """Nor its first half, when the whole was struck out before the second was read."""
    path, secrets = tmp_path / "log", Secrets(["hunter-22"])
    log = Growing(path, secrets=secrets)
    shown = []
    for text in (b"is hunt", b"is hunter-22", b"is *********", b"is *********\nis hun"):
        path.write_bytes(text)
        shown += log.news()
    path.write_bytes(b"is *********\nis hunter-22, yes")
    shown += [*log.news(), log.rest()]
    assert shown == ["is *********", "is *********, yes"]


def test_a_secret_in_a_line_beyond_the_longest_is_not_shown(tmp_path):
    """Such a line is shown in parts, and one of them may end within it."""
    path, secrets = tmp_path / "log", Secrets(["hunter-22"])
    log = Growing(path, secrets=secrets)
    path.write_bytes(b"z" * (LONGEST_LINE - 3) + b"hunt")
    shown = [*log.news()]
    with path.open("ab") as file:
        file.write(b"er-22 end\n")
    shown += log.news()
    assert "".join(shown) == "z" * (LONGEST_LINE - 3) + "********* end"
