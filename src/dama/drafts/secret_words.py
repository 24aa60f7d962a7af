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
        "mydumper", "myloader", "automysqlbackup", "cqlsh", "beeline", "veracrypt", "aescrypt",
        "msoffcrypto-tool", "fab", "megaput", "megaget", "twine",
    ),
    "-P": (
        "sqlcmd", "bcp", "osql", "tsql", "zip", "unzip", "mosquitto_pub", "mosquitto_sub", "knife",
        "ipmitool", "mclient",
    ),
    "-a": ("redis-cli",),
    "-w": (
        "ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldappasswd", "vsql",
    ),
    "-s": ("ldappasswd",),
    "-k": ("openssl", "mcrypt", "dropbox_uploader"),
    "-K": ("openssl", "ccrypt", "ccencrypt", "ccdecrypt", "ccat", "swift"),
    "-A": ("snmpwalk", "snmpget", "snmpset"),
    "-X": ("snmpwalk", "snmpget", "snmpset"),
    "-t": ("influx", "doctl", "vercel", "pushover", "gotify"),
    "-pw": ("plink", "pscp", "psftp", "nzsql", "nzload", "nodetool"),
    "-pas": ("gbak", "isql-fb", "gfix"),
    "-xp": ("sendemail", "sendEmail"),
    "-ap": ("swaks",),
    "-upw": ("pdftotext", "pdftops", "pdftoppm", "pdfimages", "pdfinfo", "pdftocairo"),
    "-opw": ("pdftotext", "pdftops", "pdftoppm", "pdfimages", "pdfinfo", "pdftocairo"),
}  # fmt: skip
# The same without a blank between.
_ATTACHED = {
    "-p": (
        "mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow", "mysqlbinlog",
        "mysqlpump", "mysqlsh", "mysqlslap", "mysql_upgrade", "mariadb", "mariadb-dump",
        "mariadb-admin", "mycli", "sshpass", "7z", "7za", "7zr", "rar", "unrar", "mongo", "mongosh",
        "mongodump", "mongorestore", "mongoexport", "mongoimport",
    ),
    "-P": ("sqlcmd", "bcp", "osql", "zip", "unzip", "ipmitool"),
    "-a": ("redis-cli",),
    "-w": ("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "vsql"),
}  # fmt: skip
# Where it stands without an option: how the words begin from there on.
_VALUE = r"(?![$<%{/.~-])\S"
_LOGIN = r"[A-Za-z]\w{0,60}/\"?[^\s$@/\"][^\s/]*"  # `USER/PASSWORD@DATABASE`
_SET = r"(?:(?!-)\S+ )*?[\w.:-]+="
_SHAPES = {
    **{name: re.compile(_LOGIN) for name in ("sqlplus", "expdp", "impdp", "rman", "sqlldr")},
    "sqlcl": re.compile(_LOGIN + "@"),
    # Words of others, too.
    **{name: re.compile(_LOGIN + r".*=") for name in ("exp", "imp")},
    **{name: re.compile(r"[\w.\\]+%[^\s$]") for name in ("rpcclient", "smbget", "winexe")},
    **{
        name: re.compile(rf"(?:alias|config host) (?:set|add) \S+ \S+ \S+ {_VALUE}")
        for name in ("mc", "mcli")
    },
    **{
        name: re.compile(rf"(?:auth|login) {_VALUE}\S*(?: -|$)")
        for name in ("snyk", "cargo", "wandb")
    },
    **{
        # What an app is to have in its environment may be anything, mostly a secret.
        name: re.compile(rf"(?:config:(?:set|add)|secrets set) {_SET}{_VALUE}")
        for name in ("heroku", "fly", "flyctl", "supabase")
    },
    "htpasswd": re.compile(r"-\w*b"),
    "vault": re.compile(
        rf"login {_VALUE}|(?:write|kv (?:put|patch)) \S+ (?:\S+ )*?[\w-]+={_VALUE}"
    ),
    "smbclient": re.compile(r"[\w.\\]+%[^\s$]|//\S+ " + _VALUE),
    "wmic": re.compile(r"[\w.\\]+%[^\s$]+ //"),
    "net": re.compile(r"use \S+ \S|[\w.\\]+%[^\s$]|user \w+ (?!/)" + _VALUE),
    "lftp": re.compile(r"[\w.@-]+,[^\s$]"),
    "rabbitmqctl": re.compile(rf"(?:add_user|(?:change|authenticate)\w*) \S+ {_VALUE}"),
    "pdftk": re.compile(rf"\w+_pw (?!PROMPT){_VALUE}"),
    "ngrok": re.compile(rf"(?:config add-)?authtoken {_VALUE}"),
    "tailscale": re.compile(rf"--?auth-?key[ =]{_VALUE}"),
    "qpdf": re.compile(rf"--encrypt (?!--user|--owner){_VALUE}"),
    "isql": re.compile(rf"\S*isql {_VALUE}\S* {_VALUE}\S* {_VALUE}"),
    "netlify": re.compile(rf"--auth[= ]{_VALUE}|env:set \S+ {_VALUE}"),
    "eb": re.compile(rf"setenv {_SET}{_VALUE}"),
    "gh": re.compile(rf"secret set (?:\S+ )*?(?:-b[= ]?|--body[= ]){_VALUE}"),
    "aws": re.compile(rf"ssm put-parameter (?:\S+ )*?--value[= ]{_VALUE}"),
    "az": re.compile(
        rf"keyvault secret set (?:\S+ )*?--value[= ]{_VALUE}"
        rf"|(?:login|acr|sql|mysql|postgres|vm|vmss) (?:\S+ )*?-p {_VALUE}"
    ),
    "dotnet": re.compile(rf"user-secrets set \S+ {_VALUE}|push (?:\S+ )*?-k {_VALUE}"),
    "rar": re.compile(rf"-hp{_VALUE}"),
    "redis-cli": re.compile(rf"(?i:auth) {_VALUE}"),
    "neo4j-admin": re.compile(rf"(?:dbms )?set-initial-password {_VALUE}"),
    "db2": re.compile(rf"connect to \S+ user \S+ using {_VALUE}"),
    "rclone": re.compile(rf"config (?:create|update) (?:\S+ )*?pass {_VALUE}"),
    "b2": re.compile(rf"(?:authorize-account|account authorize) \S+ {_VALUE}"),
    "cf": re.compile(rf"auth {_VALUE}\S* {_VALUE}"),
    "mega-login": re.compile(rf"\S*mega-login \S+ {_VALUE}"),
    "steamcmd": re.compile(rf"\+login (?!anonymous)\S+ {_VALUE}"),
    "wpa_passphrase": re.compile(rf"\S*wpa_passphrase \S+ {_VALUE}"),
    "mkpasswd": re.compile(rf"\S*mkpasswd (?:-m \S+ )?{_VALUE}"),
    "samba-tool": re.compile(rf"user (?:create|add) \S+ {_VALUE}"),
    "nmcli": re.compile(rf"password {_VALUE}"),
    "ansible-vault": re.compile(rf"encrypt_string {_VALUE}"),
    **{
        name: re.compile(rf"-c (?!public\b){_VALUE}")  # who is of the community may look
        for name in ("snmpwalk", "snmpget", "snmpset")
    },
}
_PROMPTING = tuple(  # a password is attached, or asked for
    name for name in _ATTACHED["-p"] if name.startswith(("mysql", "mariadb"))
)
_USERS = ("-u", "-U", "--user", "--username")
_PASSWORDS = ("-p", "-P", "-pw")
_ASSIGNED = ("-p=", "-P=")
_WRAPPING = "\"'`();|&{}[],"
_NO_SECRET = re.compile(r"[$<%{/.~-]|\d{1,5}(?::\d{1,5})*$|\d{1,3}(?:\.\d{1,3}){3}:|$")
_LONG = re.compile(r"(?<![\w/.+=-])[A-Za-z0-9_+=-]{24,200}(?![\w/.+=-])")
MOST = 20_000
WORDS = 10  # of a shape, at most
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
        if has_user and word[:3] in _ASSIGNED and _is_own(word[3:]):
            yield "a user with a password"
        shape = _SHAPES.get(program)
        if shape is not None and shape.match(" ".join(words[number : number + WORDS])):
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
