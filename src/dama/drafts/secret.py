"""Secrets in texts that a person once wrote: found, so that nothing repeats them.

Nothing is cut out of a text: who finds a secret in it leaves the whole text out, and says where it
is. Too many are found rather than too few.
"""

from __future__ import annotations

import re

NAME = re.compile(r"PASS(WORD|WD)?$|PASSWORD|SECRET|TOKEN|API_?KEY|CREDENTIAL", re.IGNORECASE)
"""What a variable or an option is called that holds a secret."""

_WORD = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|credentials?)"
_VALUE = r"""["']?(?![\s"'$`<>|;&)]|\\?\$)"""  # a value of its own, not a reference to one
_KINDS = {
    "an address with a password": re.compile(
        r"://[^\s/@:\"']{0,200}:" + _VALUE + r"[^\s/@\"']{1,500}@"
    ),
    "an option with a secret": re.compile(
        rf"(?<![\w-])--?[\w-]{{0,40}}{_WORD}(?![\w-]*(?:file|path|dir|name|env)\b)"
        rf"[\w-]{{0,20}}(?:=|[ \t]{{1,9}}){_VALUE}(?!-)",
        re.IGNORECASE,
    ),
    "a user with a password": re.compile(
        r"(?<!\S)(?:-u|-U|--user|--proxy-user)(?:=|[ \t]{0,9})[\"']?[\w.@+-]{1,100}:" + _VALUE
    ),
    "an attached password": re.compile(
        r"(?<!\S)(?:mysql|mysqldump|mysqladmin|mariadb)\b[^|;&\n]{0,500}\s-p" + _VALUE
    ),
    "an authorization": re.compile(
        r"\b(?:Bearer|Basic|Digest|Token)[ \t]{1,9}" + _VALUE + r"[\w.~+/=-]{3}|"
        r"\b(?:Authorization|X-[\w-]{0,40}(?:Key|Token))\s{0,9}:\s{0,9}"
        r"(?!(?:Bearer|Basic|Digest|Token)\b)" + _VALUE,
        re.IGNORECASE,
    ),
    "a member with a secret": re.compile(
        rf"""["']?\b[\w-]{{0,40}}{_WORD}["']?\s{{0,9}}:\s{{0,9}}{_VALUE}\S""", re.IGNORECASE
    ),
    "a key": re.compile(
        r"\b(?:gh[opsur]_\w{16}|glpat-\w{8}|xox[abprs]-\w{6}|AKIA[0-9A-Z]{12})"
        r"|\beyJ[\w-]{10,500}\.eyJ|\bsk-[\w-]{16}"
        r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY"
    ),
}
_ASSIGNED = re.compile(r"(?<![\w$-])(?P<name>[A-Za-z_]\w{0,99})=" + _VALUE)


def secret_in(text: str) -> str | None:
    """What in a string looks secret, in words that do not repeat it; None for nothing.

    Args:
        text: A command, a comment, a default: anything that could be repeated.
    """
    for found in _ASSIGNED.finditer(text):
        if NAME.search(found["name"]):
            return f"a value for {found['name']}"
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(text)), None)
