"""Drafts of a crontab do what the entries did: both are run by a shell, and compared."""

import subprocess

import pytest

from dama.drafts.crontab import draft_crontab

# Each argument in brackets, where it was started, two variables, and what it was fed.
SHOW = """#!/bin/sh
for a in "$@"; do printf '[%s]' "$a"; done
printf ' in %s X=%s\\n' "${PWD#"$HOME"}" "${X-none}"
[ "$1" = - ] && cat
exit 0
"""
ALIKE = r"""
show 'a b' "c d" e\ f a'b'"c"d '' \"x\" 'it'\''s'
show "$HOME" ~/x *.txt '*.txt' \*.txt [ab].txt '{a}' a#b # c
show a;show b
show x;
show x &
show `echo a b` $((1+2)) ${HOME:-x} $0
X=1 show $X
X=1 show "${X}"
X="a b" show x
X= show x
X=1; show $X
cd sub && show .
cd sub&&show .;
cd sub; show .
cd sub || show no
cd - && show .
cd sub && show a; show b
cd -- sub && show .
exec show x
command show x
eval show 'x y'
. ./lib.sh; fn x
show 2>/dev/null x
show > /dev/null x
show x 1>&2
show x > data.csv
show x > logs/data.csv
show x < in.txt
(cd sub; show .)
if true; then show x; fi
show `date +\%Y` 50\%
show -%a%b\%$HOME%
cd sub && show -%a
cat > fed.txt%a%%END
cat; show x%a
"""


def home(folder):
    """A home with programs and files."""
    for name, text, mode in (("show", SHOW, 0o755), ("lib.sh", "fn() { show $1; }", 0o644)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    for name in ("sub", "logs"):
        (folder / name).mkdir()
    for name in ("a.txt", "b.txt", "in.txt"):
        (folder / name).write_text(name)
    return folder


def done(argv, folder, where, env, fed=""):
    """What a command prints, returns and leaves."""
    known = {"HOME": str(folder), "PATH": f"{folder}:/usr/bin:/bin"} | env
    found = subprocess.run(
        argv, cwd=where, env=known, input=fed, capture_output=True, text=True, check=False
    )
    left = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    printed = sorted(found.stdout.splitlines()), found.stderr
    return found.returncode, [str(x).replace(str(folder), "HOME") for x in (*printed, left)]


@pytest.mark.parametrize("entry", ALIKE.strip().splitlines())
def test_a_draft_does_what_the_entry_did(tmp_path, entry):
    """The same words, folder, variables, input, files and exit code."""
    command, *lines = [part.replace(r"\%", "%") for part in _parts(entry)]
    fed = "\n".join(lines) + ("\n" if lines and lines[-1] else "")
    (draft,) = draft_crontab("crontab", f"0 5 * * * {entry}\n", "cron").programs
    for name in ("cron", "dama"):
        (tmp_path / name).mkdir()
    before, after = home(tmp_path / "cron"), home(tmp_path / "dama")

    expected = done(["/bin/sh", "-c", command], before, before, {}, fed)
    found = done(draft.command, after, after / draft.cwd, draft.env, fed)

    assert found == expected


def _parts(entry):
    """Where cron cuts: at percent signs without a backslash."""
    return entry.replace("\\%", "\0").replace("%", "\n").replace("\0", "\\%").split("\n")
