"""Check that what goes into git fits every machine, and that changelog fragments are named well.

Refused: paths of this machine or of anybody's home, addresses of package registries, lock files
that record them, files too large to be written by hand, and American spellings where people read.
Looks at the files that git tracks or would add.
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
# English here is British. What others have named stays: `license` of a package, SQL's ANALYZE and
# MATERIALIZED, `color` of a style, PostgreSQL's "serialization failure", a method `capitalize`.
READ = re.compile(r"(src|docs|changelog\.d)/.*\.(py|md|html|sql)|[A-Z]+\.md")
AMERICAN = re.compile(
    r"(?:(?:analy|paraly)z(?:ed|es|ing)|behavior|cancel(?:ed|ing)|colored|favor"
    r"|honor|flavor|neighbor|label(?:ed|ing)|model(?:ed|ing)|signal(?:ed|ing)|travel(?:ed|ing)"
    r"|center(?:ed|s)|defense|fulfills?\b|\bgotten|judgment"
    r"|(?:categor|custom|emphas|final|general|initial|maxim|minim|normal|optim|organ|priorit|real"
    r"|recogn|serial|special|summar|synchron|util|visual)iz(?:e[ds]|ing)"
    r"|(?:custom|final|general|organ|priorit|synchron|visual)ization)"
)
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


def is_read(path: Path) -> bool:
    """Whether a file has text that people read."""
    return READ.fullmatch(path.relative_to(ROOT).as_posix()) is not None


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
    spelling = [("American spelling", AMERICAN)]
    problems = [
        problem
        for path in tracked()
        for problem in problems_of(path, [*patterns, *(spelling if is_read(path) else [])])
    ]
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} to mend")


if __name__ == "__main__":
    main()
