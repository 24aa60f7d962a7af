"""Files of runs in a bundle: what programs printed and left on the host that exports."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from dama.bundles.errors import BundleError
from dama.bundles.layout import LOGS
from dama.config.private_file import make_private, private
from dama.programs.environment import secrets_left
from dama.programs.leavings import readable
from dama.programs.regular import open_regular, read_regular
from dama.programs.tail import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from dama.bundles.reading import Bundle
    from dama.programs.run_directory import RunDirectories, RunDirectory

LOG_BYTES = 1024 * 1024  # of each log: its end
LARGEST_EXIT = 64 * 1024
PART = 1024 * 1024
Found = tuple[str, "Iterable[bytes]"]


def of_context(
    runs: RunDirectories, place: int, context_id: int, *, logs: bool, artifacts: bool
) -> Iterator[Found]:
    """The members for the runs of a context on this host: names and bytes.

    Args:
        runs: Of the database.
        place: Of the context in the bundle.
        context_id: Its id here.
        logs: Whether the ends of logs are wanted, with how the programs ended.
        artifacts: Whether the files that they left are wanted.
    """
    for run in runs.of_context(context_id):
        if logs:
            yield from _logs(run, f"logs/{place}/{run.epoch}")
        if artifacts:
            yield from _artifacts(run.artifacts, f"artifacts/{place}/{run.epoch}")


def restore(bundle: Bundle, runs: RunDirectories, ids: Mapping[int, int]) -> int:
    """Put the files of runs where `dama logs` and the pages find them; returns how many.

    What is there already stays.

    Args:
        bundle: Where they are.
        runs: Of the database.
        ids: The id of each context of the bundle here.

    Raises:
        BundleError: One of them is damaged, or cannot be written.
    """
    try:
        return _restored(bundle, runs, ids)
    except OSError as error:
        raise BundleError(
            f"Files of runs cannot be written below {runs.path}: {error.strerror or error}.",
            "All contexts are there. Import the file again when that is mended: what is missing "
            "comes then.",
        ) from error


def _restored(bundle: Bundle, runs: RunDirectories, ids: Mapping[int, int]) -> int:
    count = 0
    for kind, place, epoch, name, member in bundle.run_files():
        if place not in ids or (kind == "logs" and name not in LOGS):
            continue
        run = runs.of(ids[place], epoch)
        if not run.path.exists():
            run.make()
            run.settle()
        path = run.path / name if kind == "logs" else run.artifacts / name
        if not path.exists() or (kind == "logs" and path.stat().st_size == 0):
            make_private(path.parent)
            _write(path, bundle.parts(member))
            count += 1
    return count


def _logs(run: RunDirectory, folder: str) -> Iterator[Found]:
    secrets = secrets_left(run)
    for path in (run.stdout, run.stderr):
        with suppress(OSError):
            size = path.stat().st_size
            parts = read_range(path, max(size - LOG_BYTES, 0), size, secrets)
            first = next(parts, None)  # raises here where it cannot be read
            if first is not None:
                yield f"{folder}/{path.name}", chain([first], parts)
    with suppress(OSError):
        data = read_regular(run.path / "exit.json", LARGEST_EXIT)
        if data:
            yield f"{folder}/exit.json", [data]


def _artifacts(top: Path, folder: str) -> Iterator[Found]:
    for name, path in sorted((_name(path, top), path) for path in top.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with suppress(OSError):
                descriptor = open_regular(path)
                yield f"{folder}/{name}", _whole(descriptor)


def _name(path: Path, top: Path) -> str:
    """The name of an artifact; one that is not UTF-8 gets another, as a bundle has only text."""
    name = str(path.relative_to(top))
    if (shown := readable(name)) == name:
        return name
    return f"{shown}.{sha256(os.fsencode(name)).hexdigest()[:12]}"


def _whole(descriptor: int) -> Iterator[bytes]:
    """All bytes of a file, also of one that begins with a hole."""
    with os.fdopen(descriptor, "rb") as file:
        while part := file.read(PART):
            yield part


def _write(path: Path, parts: Iterable[bytes]) -> None:
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(private(str(part), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        for each in parts:
            file.write(each)
    part.replace(path)
