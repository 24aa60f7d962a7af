"""A crontab: each line is a program, with its schedule in a comment.

Its commands are shell. One that is plain words becomes arguments; another one stays a text for
the shell that cron would have used. `cd FOLDER &&` becomes cwd, redirections of the output fall
away, and values that look secret are never written.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from dama.broker.drafts.draft import SECRET, Draft, Drafts, task_name, unique
from dama.broker.errors import InvalidDefinitionError

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@reboot": "",
}
# The clock of cron's host, which the crontab does not tell.
UNKNOWN_ZONE = "THE-ZONE-OF-THAT-HOST"
_FIELD = r"[\d*,/A-Za-z~-]+"
_ENTRY = re.compile(
    rf"^\s*(?P<when>{'|'.join(NICKNAMES)}|{_FIELD}(?:\s+{_FIELD}){{4}})\s+(?P<command>\S.*)$"
)
_SETTING = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*$")
# For cron itself; HOME, LOGNAME and SHELL are its words too.
_OF_CRON = ("MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE")
_OUTPUT = re.compile(r"(?<!\S)(?:[12]?>>?|&>>?)\s*(?P<file>[^\s;&|<>]+)|(?<!\S)2>&1(?!\S)")
_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]#~!{}\n]")
_ASSIGNED = re.compile(r"(?<![\w$-])(?P<name>[A-Za-z_]\w*)=(?P<value>'[^']*'|\"[^\"]*\"|\S*)\s*")
_WRAPPERS = ("bash", "sh", "env", "nice", "ionice", "nohup", "timeout", "flock", "sudo", "python",
             "python3", "node", "Rscript", "perl", "exec", "time", "chronic")  # fmt: skip


@dataclass
class _Shell:
    """What the lines above an entry have set."""

    path: str
    zone: str
    env: dict[str, str]
    secrets: tuple[str, ...]


def draft_crontab(source: str, text: str, service: str) -> Drafts:
    """Draft the entries of a crontab.

    Args:
        source: What it is called.
        text: Its lines; those of a system's crontab have a user before the command.
        service: The name of their service.

    Raises:
        InvalidDefinitionError: It has no entry.
    """
    with_user = bool(re.search(r"(?im)^#.*\bdow\s+user\b|^#.*\buser(-name)?\s+command", text))
    with_user = with_user or source.startswith(("/etc/crontab", "/etc/cron.d/"))
    shell = _Shell("/bin/sh", "", {}, ())
    programs: list[Draft] = []
    notes: list[str] = []
    taken: set[str] = set()
    help_ = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            help_ = ""
        elif line.lstrip().startswith("#"):
            help_ = line.strip("# \t")
        elif entry := _ENTRY.match(line):
            programs.append(_draft(entry, shell, service, taken, with_user=with_user, help_=help_))
        elif setting := _SETTING.match(line):
            _take_setting(shell, setting)
        else:
            notes.append(f"Line {number} is no entry: {line.strip()[:60]}")
    if not programs:
        raise InvalidDefinitionError(
            f"{source} has no entry of a crontab.",
            "Wanted a folder of scripts, a Makefile, a package.json or a crontab "
            "(lines such as 15 2 * * * load.sh).",
        )
    return Drafts(source, tuple(programs), tuple(notes))


def _take_setting(shell: _Shell, setting: re.Match[str]) -> None:
    name, value = setting["name"], setting["value"].strip("\"'")
    if name == "SHELL":
        shell.path = value
    elif name == "CRON_TZ":
        shell.zone = value
    elif name in _OF_CRON:
        return
    elif SECRET.search(name):
        shell.secrets = tuple(dict.fromkeys((*shell.secrets, name)))
    else:
        shell.env = {**shell.env, name: value}


def _draft(
    entry: re.Match[str],
    shell: _Shell,
    service: str,
    taken: set[str],
    *,
    with_user: bool,
    help_: str,
) -> Draft:
    text = entry["command"].rstrip()
    notes: list[str] = []
    if with_user:
        user, _, text = text.partition(" ")
        notes.append(f"cron ran it as the user {user}.")
    text = _without_percent(text.strip(), notes)
    text, folder = _without_cd(text)
    text = _without_output(text, notes)
    text, env, secrets = _without_variables(text, notes)
    name = f"{service}.{unique(_name(text), taken)}"
    plain = not _SHELL.search(text)
    return Draft(
        name,
        tuple(shlex.split(text)) if plain else (shell.path, "-c", text),
        cwd=folder,
        help=help_ if not re.search(r"[*\d]\s+[*\d]", help_) else "",
        env={**shell.env, **env},
        secrets=tuple(dict.fromkeys((*shell.secrets, *secrets))),
        notes=(*notes, *_schedule(name, entry["when"], shell.zone)),
    )


def _schedule(name: str, when: str, zone: str) -> tuple[str, ...]:
    if when == "@reboot":
        return ("cron ran it when the machine started; nothing here does so.",)
    fields = " ".join((NICKNAMES.get(when) or when).split())
    short_name = name.partition(".")[2]
    return (
        f'dama schedule add {short_name} {name} --cron "{fields}" --zone {zone or UNKNOWN_ZONE}',
    )


def _without_percent(text: str, notes: list[str]) -> str:
    r"""What cron does first: `%` ends the command and begins its input, `\%` is a percent sign."""
    command, *lines = re.split(r"(?<!\\)%", text)
    if lines:
        notes.append("cron gave it lines on standard input (after %); they are left out here.")
    return command.replace(r"\%", "%").rstrip()


def _without_cd(text: str) -> tuple[str, str]:
    found = re.match(r"cd\s+(?P<folder>[\w./~+-]+)\s*(?:&&|;)\s*(?P<rest>\S.*)$", text)
    return (found["rest"], found["folder"]) if found else (text, ".")


def _without_output(text: str, notes: list[str]) -> str:
    files = [found["file"] for found in _OUTPUT.finditer(text) if found["file"]]
    # One in the middle belongs to a part of a pipe or a list.
    at_end = re.search(rf"(?:\s*(?:{_OUTPUT.pattern.replace('?P<file>', '?:')}))+\s*$", text)
    if not at_end or re.search(r"[|;]|&&", text):
        return text
    logs = [file for file in files if file != "/dev/null"]
    notes.append(f"Its output went to {', '.join(logs) or 'nowhere'}; dama keeps it.")
    return text[: at_end.start()].rstrip()


def _without_variables(text: str, notes: list[str]) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Take the variables before a command out, and secrets wherever they stand."""
    env: dict[str, str] = {}
    secrets: list[str] = []
    while found := _ASSIGNED.match(text):
        if SECRET.search(found["name"]):
            secrets.append(found["name"])
        elif re.search(r"[$`]", found["value"]):
            break
        else:
            env[found["name"]] = found["value"].strip("\"'")
        text = text[found.end() :]
    secrets += [f["name"] for f in _ASSIGNED.finditer(text) if SECRET.search(f["name"])]
    text = _ASSIGNED.sub(lambda f: "" if SECRET.search(f["name"]) else f[0], text)
    if secrets:
        notes.append(
            f"The crontab has a value for {', '.join(secrets)}, which is not repeated here: "
            "set it in the environment of the workers."
        )
    return text, env, tuple(secrets)


def _name(text: str) -> str:
    """The first word that is not about how it is run."""
    words = [word for word in re.split(r"[\s;&|<>()'\"]+", text) if word]
    for word in words:
        stem = PurePosixPath(word).name
        if re.match(r"[A-Za-z]", stem) and stem not in _WRAPPERS and "=" not in word:
            return task_name(stem.rsplit(".", 1)[0] if "." in stem[1:] else stem)
    return "entry"
