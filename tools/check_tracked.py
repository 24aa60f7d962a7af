"""Check that what goes into git fits every machine, and that changelog fragments are named well.

Refused: paths of this machine or of anybody's home, addresses of package registries, lock files
that record them, files too large to be written by hand. Looks at the files that git tracks or would
add.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAGMENT = re.compile(r"README\.md|[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed)\.md")
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}
# A backslash before every dot, so that this file does not match itself.
REGISTRIES = r"\bpypi\.org|pythonhosted\.org|registry\.(npmjs|yarnpkg)\.\w+|\bproxy\.golang\.org"
OPTIONS = r"--(extra-)?index-url|--find-links"
HOMES = r"(?<![\w.~}-])/(home|Users)/\w+|(?<![\w.~}-])/root/[\w.]|\b[A-Z]:\\Users\\"
MAX_KB = 300
MIN_ROOT_LENGTH = 5  # a shorter root, such as /src in a container, is a word of its own


def tracked() -> list[Path]:
    """Return the files that git tracks or would add; none where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    if not shutil.which("git") or not (ROOT / ".git").exists():
        print("  skipped: this is not a git checkout")
        return []
    done = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=True)
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def forbidden() -> list[tuple[str, re.Pattern[str]]]:
    """Return each kind of text that must not be tracked, with its pattern."""
    found = [
        ("address of a package registry", re.compile(REGISTRIES)),
        ("option with the address of a registry", re.compile(rf"^\s*({OPTIONS})\b")),
        ("path of somebody's home", re.compile(HOMES)),
    ]
    if len(str(ROOT)) >= MIN_ROOT_LENGTH:
        here = re.compile(re.escape(str(ROOT)) + r"(?![\w-])")
        found.append(("path of this checkout", here))
    return found


def problems_of(path: Path, patterns: list[tuple[str, re.Pattern[str]]]) -> list[str]:
    """Return what is wrong with one file, a line each."""
    name = path.relative_to(ROOT).as_posix()
    if path.name in LOCK_FILES:
        return [f"{name}: records addresses of registries; the pinned files are in requirements/"]
    if path.parent == ROOT / "changelog.d" and not FRAGMENT.fullmatch(path.name):
        return [f"{name}: not <slug>.<added|changed|fixed>.md (see changelog.d/README.md)"]
    if path.stat().st_size > MAX_KB * 1000:
        return [f"{name}: over {MAX_KB} kB; what a tool fetched or made stays out of git"]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return [
        f"{name}:{number}: {kind}: {found[0]}"
        for number, line in enumerate(lines, start=1)
        for kind, pattern in patterns
        if (found := pattern.search(line))
    ]


def main() -> None:
    """Print each problem and exit with their number."""
    patterns = forbidden()
    problems = [problem for path in tracked() for problem in problems_of(path, patterns)]
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} to mend")


if __name__ == "__main__":
    main()
