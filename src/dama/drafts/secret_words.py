"""Secrets that only the program tells: `-p` is a port to one and a password to another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# By program: the options after which a password stands.
_SPACED = {
    "-p": (
        "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "mycli",
        "sshpass", "useradd", "usermod", "ncftpput", "ncftpget", "snowsql", "rabbitmqadmin",
    ),
    "-P": (
        "sqlcmd", "bcp", "osql", "tsql", "zip", "unzip", "mosquitto_pub", "mosquitto_sub",
    ),
    "-a": ("redis-cli",),
    "-w": ("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldappasswd"),
    "-k": ("openssl",),
    "-t": ("influx", "doctl"),
    "-pw": ("plink", "pscp", "psftp"),
}  # fmt: skip
# The same without a blank between.
_ATTACHED = {
    "-p": (
        "mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow", "mysqlbinlog",
        "mysqlpump", "mysqlsh", "mariadb", "mariadb-dump", "mariadb-admin", "mycli", "sshpass",
        "7z", "7za", "7zr", "rar", "unrar",
    ),
    "-P": ("sqlcmd", "bcp", "osql"),
    "-a": ("redis-cli",),
    "-w": ("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami"),
}  # fmt: skip
# Where it stands without an option: how the words begin from there on.
_VALUE = r"(?![$<%{/.~-])\S"
_LOGIN = r"[A-Za-z]\w{0,60}/\"?[^\s$@/\"][^\s/]*"  # `USER/PASSWORD@DATABASE`
_SHAPES = {
    **{name: re.compile(_LOGIN) for name in ("sqlplus", "expdp", "impdp", "rman", "sqlldr")},
    # Words of others, too.
    **{name: re.compile(_LOGIN + r".*=") for name in ("exp", "imp")},
    "htpasswd": re.compile(r"-\w*b"),
    "vault": re.compile("login " + _VALUE),
    "smbclient": re.compile(r"[\w.\\]+%[^\s$]|//\S+ " + _VALUE),
    "rpcclient": re.compile(r"[\w.\\]+%[^\s$]"),
    "net": re.compile(r"use \S+ \S|[\w.\\]+%[^\s$]"),
    "lftp": re.compile(r"[\w.@-]+,[^\s$]"),
    "rabbitmqctl": re.compile(rf"(?:add_user|(?:change|authenticate)\w*) \S+ {_VALUE}"),
    "pdftk": re.compile(rf"\w+_pw (?!PROMPT){_VALUE}"),
    "ngrok": re.compile(rf"(?:config add-)?authtoken {_VALUE}"),
    "tailscale": re.compile(rf"--?auth-?key[ =]{_VALUE}"),
    "qpdf": re.compile(rf"--encrypt (?!--user|--owner){_VALUE}"),
    "isql": re.compile(rf"\S*isql {_VALUE}\S* {_VALUE}\S* {_VALUE}"),
}
_PROMPTING = _ATTACHED["-p"][:11]  # a password is attached, or asked for
_USERS = ("-u", "-U", "--user", "--username")
_PASSWORDS = ("-p", "-P", "-pw")
_WRAPPING = "\"'`();|&{}[],"
_NO_SECRET = re.compile(r"[$<%{/.~-]|\d{1,5}(?::\d{1,5})*$|\d{1,3}(?:\.\d{1,3}){3}:|$")
_LONG = re.compile(r"(?<![\w/.+=-])[A-Za-z0-9_+=-]{24,200}(?![\w/.+=-])")
MOST = 20_000
PLACES = 3  # with digits, in a word that nobody has thought of


def secret_among(text: str) -> str | None:
    """What looks secret by the program or the look of a word; None for nothing.

    Args:
        text: A command, or a text with one; quotes may be within quotes.
    """
    words = [word.strip(_WRAPPING) for word in text.split()[:MOST]]
    return next(_found(words), None) or (
        "a key" if any(map(_is_key, _LONG.findall(text))) else None
    )


def _found(words: Sequence[str]) -> Iterator[str]:
    program, has_user = "", False
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        if not word.startswith("-") and _is_known(word):
            program, has_user = word.rpartition("/")[2], False
        has_user |= word in _USERS and not following.startswith("-")
        if program in _SPACED.get(word, ()) and _is_own(following):
            yield f"a password of {program}"
        if program in _ATTACHED.get(word[:2], ()) and _is_own(word[2:].strip(_WRAPPING)):
            yield f"a password of {program}"
        if has_user and word in _PASSWORDS and program not in _PROMPTING and _is_own(following):
            yield "a user with a password"
        shape = _SHAPES.get(program)
        if shape is not None and shape.match(" ".join(words[number : number + 5])):
            yield f"a password of {program}"


_PROGRAMS = frozenset(
    name for names in (*_SPACED.values(), *_ATTACHED.values(), _SHAPES) for name in names
)


def _is_known(word: str) -> bool:
    return word.rpartition("/")[2] in _PROGRAMS


def _is_own(word: str) -> bool:
    """Whether it is a value of its own, no reference, path, port or address."""
    return _NO_SECRET.match(word) is None


def _is_key(word: str) -> bool:
    """Whether it looks drawn by lot: both cases, and digits in several places."""
    digits = re.findall(r"\d+", word)
    return (
        len(digits) >= PLACES
        and re.search(r"[a-z]", word) is not None
        and re.search(r"[A-Z]", word) is not None
    )
