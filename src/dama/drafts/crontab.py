"""A crontab: each command is a program, with its schedules in comments.

Its commands are shell. One that is plain words becomes arguments; another one stays a text for
the shell that cron would have used. `cd FOLDER &&` becomes cwd, and the redirection of a log falls
away. An entry that holds a secret is left to the person: its text is not repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dama.drafts.cron_entry import (
    ENTRY,
    Entry,
    are_users,
    is_relative,
    may_be_users,
    name_of,
    read_entry,
    schedule_of,
    without_anacron,
)
from dama.drafts.draft import UNREADABLE, Draft, Drafts, sentence, unique
from dama.drafts.secret import NAME, secret_in
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_SETTING = re.compile(r"^\s*[\"']?(?P<name>[A-Za-z_]\w*)[\"']?\s*=\s*(?P<value>.*?)\s*$")
# For cron itself; HOME, LOGNAME and SHELL are its words too.
_OF_CRON = ("MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE")
_OF_SYSTEM = re.compile(r"(?:.*/)?etc/crontab|(?:.*/)?cron\.d/[^/]+")
_USER_COLUMN = re.compile(r"(?im)^#.*\bdow\s+user\b|^#.*\buser(-name)?\s+command")
# Comments that explain the columns, as many tables begin.
_EXPLAINS = re.compile(
    r"(?i)\bm(in\w*)?[\s|,]+h(ours?)?\b|\bdow\b|\buser(-?name)?\s+(command|cmd)\b|\|\s+\|"
)


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
    written = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    lines = [without_anacron(line) for line in written]
    found = [ENTRY.match(line) for line in lines if not line.lstrip().startswith("#")]
    commands = [entry["command"] for entry in found if entry]
    if not commands:
        what = "is not UTF-8" if UNREADABLE in text else "has no entry of a crontab"
        raise InvalidDefinitionError(
            f"{source} cannot be read as a crontab: it {what}.",
            "Wanted a script, a folder of them, a Makefile, a package.json or a crontab "
            "(lines such as 15 2 * * * load.sh).",
        )
    has_users = bool(_OF_SYSTEM.fullmatch(source)) or are_users(commands)
    # Many keep the explanations of a system's crontab in one of their own.
    said = _USER_COLUMN.search(text) is not None and may_be_users(commands)
    table = _Table(
        service,
        has_users=has_users or said,
        used_as_secrets=_used_as_secrets(lines, commands),
    )
    for number, line in enumerate(lines, 1):
        table.take(number, line)
    if lines != written:
        table.notes.append(
            "It is an anacrontab: the delays of its jobs, and making up for days on which the "
            "machine was off (--catch-up), are left to you."
        )
    return Drafts(source, tuple(table.programs.values()), tuple(table.notes))


def _used_as_secrets(lines: Sequence[str], commands: Sequence[str]) -> frozenset[str]:
    """The settings that a command gives where a secret stands, whatever they are called."""
    settings = [found for line in lines if (found := _SETTING.match(line))]
    return frozenset(
        setting["name"]
        for setting in settings
        for command in commands
        if re.search(rf"\$\{{?{setting['name']}\b", command)
        and secret_in(command) is None
        and secret_in(f"{setting['name']}={setting['value']}; {command}")
    )


class _Table:
    """The lines of a crontab, taken one after the other.

    Args:
        service: The name of the service of its programs.
        has_users: Whether each command has a user before it.
        used_as_secrets: The settings whose values are not repeated, beside those that look secret.

    Attributes:
        programs: By what they are; one that runs at several times is there once.
        notes: What was passed over, and why.
    """

    def __init__(
        self, service: str, *, has_users: bool, used_as_secrets: Container[str] = ()
    ) -> None:
        self.programs: dict[object, Draft] = {}
        self.notes: list[str] = []
        self._service = service
        self._has_users = has_users
        self._used_as_secrets = used_as_secrets
        self._shell = _Shell("/bin/sh", "", {}, ())
        self._comments: list[str] = []
        self._names: set[str] = set()
        self._schedules: set[str] = set()

    def take(self, number: int, line: str) -> None:
        """Take a line."""
        if not line.strip():
            self._comments = []
        elif line.lstrip().startswith("#"):
            self._comments.append(line.strip("# \t"))
        elif UNREADABLE in line:
            self.notes.append(f"Line {number} is not UTF-8, so it is left to you.")
        elif found := ENTRY.match(line):
            self._take_entry(number, read_entry(found, has_user=self._has_users))
            self._comments = []  # what is above an entry is about that one
        elif setting := _SETTING.match(line):
            self._take_setting(setting)
        else:
            is_secret = secret_in(line) is not None
            shown = "it holds a secret" if is_secret else line.strip()[:60]
            self.notes.append(f"Line {number} is no entry: {shown}")

    def _take_setting(self, setting: re.Match[str]) -> None:
        name, value, shell = setting["name"], setting["value"].strip("\"'"), self._shell
        if name == "SHELL":
            shell.path = value
        elif name == "CRON_TZ":
            shell.zone = value
        elif name in _OF_CRON:
            return
        elif NAME.search(name) or secret_in(setting[0]) or name in self._used_as_secrets:
            shell.secrets = tuple(dict.fromkeys((*shell.secrets, name)))
        else:
            shell.env = {**shell.env, name: value}

    def _take_entry(self, number: int, entry: Entry) -> None:
        if secret := secret_in(entry.line.text):
            self.notes.append(
                f"Line {number} holds {secret}, so it is not repeated here. Declare it by "
                "hand: put the value into a file of mode 0600, name that in env_files, and let "
                "the command read it from its environment."
            )
            return
        draft = self._draft(entry)
        key = (draft.command, draft.cwd, tuple(draft.env.items()), draft.secrets)
        if key not in self.programs:
            short, *longer = name_of(entry.line.text)
            name = unique(short, self._names, *longer)
            self.programs[key] = replace(draft, name=f"{self._service}.{name}")
        known = self.programs[key]
        schedule = unique(known.name.partition(".")[2], self._schedules)
        when = schedule_of(entry.when, schedule, known.name, self._shell.zone)
        notes = dict.fromkeys((*known.notes, *draft.notes, when))
        self.programs[key] = replace(known, notes=tuple(notes))

    def _draft(self, entry: Entry) -> Draft:
        line, notes, shell = entry.line, entry.notes, self._shell
        if line.outputs:
            logs = [file for file in line.outputs if file != "/dev/null"]
            notes.append(f"Its output went to {', '.join(logs) or 'nowhere'}; dama keeps it.")
        env = {**shell.env, **line.env}
        home = env.pop("HOME", None)
        folder = str(PurePosixPath(home or ".", line.folder or ""))
        if home is None and not folder.startswith("/") and is_relative(line):
            notes.append("cron started it in the home folder of its user: set cwd to that.")
        if line.secrets:
            notes.append(
                f"The crontab has a value for {', '.join(line.secrets)}, which is not repeated "
                "here: put it into a file of mode 0600 and name that in env_files, or set it in "
                "the environment of the workers."
            )
        return Draft(
            "",
            line.words or (shell.path, "-c", line.text),
            cwd=folder,
            help=_help(self._comments),
            env={**env, **({"HOME": home} if home else {})},
            secrets=tuple(dict.fromkeys((*shell.secrets, *line.secrets))),
            notes=tuple(notes),
        )


def _help(comments: list[str]) -> str:
    """The first sentence of what is said right above an entry, unless it explains the columns."""
    if any(_EXPLAINS.search(line) for line in comments):
        return ""
    said: list[str] = []
    for line in comments:
        if ENTRY.match(line) or (said and not re.search(r"\w", line)):
            said = []  # what is above is about this: a line drawn, or an entry that is disabled
        elif re.search(r"\w", line):
            said.append(line)
    text = sentence(" ".join(said))
    return "" if UNREADABLE in text or secret_in(" ".join(said)) else text
