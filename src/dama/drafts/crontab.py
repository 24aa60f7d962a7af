"""A crontab: each line is a program, with its schedule in a comment.

Its commands are shell. One that is plain words becomes arguments; another one stays a text for
the shell that cron would have used. `cd FOLDER &&` becomes cwd, and the redirection of a log falls
away. An entry that holds a secret is left to the person: its text is not repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from dama.domain.errors import InvalidScheduleError
from dama.domain.schedule import NICKNAMES, check_cron
from dama.drafts.draft import Draft, Drafts, task_name, unique
from dama.drafts.secret import NAME, secret_in
from dama.drafts.shell import Line, read_line
from dama.errors import InvalidDefinitionError

# The clock of cron's host, which the crontab does not tell.
UNKNOWN_ZONE = "THE-ZONE-OF-THAT-HOST"
_FIELD = r"[\d*?,/A-Za-z#~-]+"
_WHEN = "|".join(["@reboot", *NICKNAMES])
_ENTRY = re.compile(rf"^\s*(?P<when>{_WHEN}|{_FIELD}(?:\s+{_FIELD}){{4}})\s+(?P<command>\S.*)$")
# No command is called so: seconds or years, as other schedulers have them.
MORE = 2  # fields: seconds and years
_MORE_FIELDS = re.compile(
    r"([*?](?:/\d+)?|\d[\d,/-]*|(?:SUN|MON|TUE|WED|THU|FRI|SAT)(?:[-,][A-Z]{3})*)\s+"
)
_SETTING = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*$")
# For cron itself; HOME, LOGNAME and SHELL are its words too.
_OF_CRON = ("MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE")
_NO_COMMANDS = ("root", "www-data", "nobody", "daemon")  # users whom no command is called like
_USERS = ("root", "www-data", "postgres", "nobody", "daemon", "mail", "backup", "nginx", "mysql")
_USER = re.compile(r"[a-z_][a-z0-9_-]*")
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
    commands = [found["command"] for line in text.splitlines() if (found := _ENTRY.match(line))]
    with_user = with_user or _are_users([command.split()[0] for command in commands])
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
            found = _read_entry(entry, with_user=with_user)
            if secret := secret_in(found.text):
                notes.append(
                    f"Line {number} holds {secret}, so it is not repeated here. Declare it by "
                    "hand: put the value into a file of mode 0600, name that in env_files, and let "
                    "the command read it from its environment."
                )
                continue
            programs.append(_draft(found, shell, service, taken, help_))
            help_ = ""  # what is above an entry is about that one
        elif setting := _SETTING.match(line):
            _take_setting(shell, setting)
        else:
            is_secret = secret_in(line) is not None
            shown = "it holds a secret" if is_secret else line.strip()[:60]
            notes.append(f"Line {number} is no entry: {shown}")
    if not programs:
        raise InvalidDefinitionError(
            f"{source} has no entry of a crontab.",
            "Wanted a folder of scripts, a Makefile, a package.json or a crontab "
            "(lines such as 15 2 * * * load.sh).",
        )
    return Drafts(source, tuple(programs), tuple(notes))


def _are_users(words: list[str]) -> bool:
    """Whether the first words of all commands are users rather than programs."""
    if any(word in _NO_COMMANDS for word in words):
        return all(_USER.fullmatch(word) and word not in _WRAPPERS for word in words)
    return bool(words) and all(word in _USERS for word in words)


def _take_setting(shell: _Shell, setting: re.Match[str]) -> None:
    name, value = setting["name"], setting["value"].strip("\"'")
    if name == "SHELL":
        shell.path = value
    elif name == "CRON_TZ":
        shell.zone = value
    elif name in _OF_CRON:
        return
    elif NAME.search(name) or secret_in(value):
        shell.secrets = tuple(dict.fromkeys((*shell.secrets, name)))
    else:
        shell.env = {**shell.env, name: value}


@dataclass
class _Entry:
    """An entry as it was read."""

    when: str
    text: str
    line: Line
    notes: list[str]


def _read_entry(entry: re.Match[str], *, with_user: bool) -> _Entry:
    when, text, notes = entry["when"], entry["command"].rstrip(), list[str]()
    more: list[str] = []
    while not when.startswith("@") and len(more) < MORE and (found := _MORE_FIELDS.match(text)):
        more.append(found[1])
        text = text[found.end() :]
    if more:
        when = _without_seconds([*when.split(), *more], notes)
    if with_user or text.split()[0] in _NO_COMMANDS:
        user, *rest = text.split(None, 1)
        text = rest[0] if rest else ""
        notes.append(f"cron ran it as the user {user}.")
    text = _without_percent(text.strip(), notes)
    line = read_line(text)
    return _Entry(when, line.text, line, notes)


def _draft(entry: _Entry, shell: _Shell, service: str, taken: set[str], help_: str) -> Draft:
    line, notes = entry.line, entry.notes
    if line.outputs:
        logs = [file for file in line.outputs if file != "/dev/null"]
        notes.append(f"Its output went to {', '.join(logs) or 'nowhere'}; dama keeps it.")
    env = {**shell.env, **line.env}
    home = env.pop("HOME", None)
    folder = str(PurePosixPath(home or ".", line.folder or ""))
    if home is None and not folder.startswith("/") and _is_relative(line):
        notes.append("cron started it in the home folder of its user: set cwd to that.")
    if line.secrets:
        notes.append(
            f"The crontab has a value for {', '.join(line.secrets)}, which is not repeated here: "
            "put it into a file of mode 0600 and name that in env_files, or set it in the "
            "environment of the workers."
        )
    name = f"{service}.{unique(_name(line.text), taken)}"
    is_text = re.search(r"[*\d]\s+[*\d]", help_) is None and secret_in(help_) is None
    return Draft(
        name,
        line.words or (shell.path, "-c", line.text),
        cwd=folder,
        help=help_ if is_text else "",
        env={**env, **({"HOME": home} if home else {})},
        secrets=tuple(dict.fromkeys((*shell.secrets, *line.secrets))),
        notes=(*notes, *_schedule(name, entry.when, shell.zone)),
    )


def _is_relative(line: Line) -> bool:
    """Whether it names something by where it is started."""
    words = line.words or tuple(line.text.split())
    return bool(line.folder) or any(
        "/" in word and not word.startswith(("/", "-", "~")) and "://" not in word for word in words
    )


def _without_seconds(fields: list[str], notes: list[str]) -> str:
    """Five fields of six or seven: seconds come first, years last."""
    seconds, *rest = fields
    years = rest[5:]
    if seconds != "0":
        notes.append(f"It had the seconds {seconds!r}; schedules here have minutes.")
    if years and years[0] not in "*?":
        notes.append(f"It was for the years {years[0]} only; schedules here have no years.")
    return " ".join("*" if each == "?" else each for each in rest[:5])


def _schedule(name: str, when: str, zone: str) -> tuple[str, ...]:
    if when == "@reboot":
        return ("cron ran it when the machine started; nothing here does so.",)
    fields = " ".join((NICKNAMES.get(when) or when).split())
    try:
        check_cron(fields)
    except InvalidScheduleError as error:
        return (f"Its times {fields!r} cannot be a schedule here: {error}",)
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


def _name(text: str) -> str:
    """The first word that is not about how it is run."""
    words = [word for word in re.split(r"[\s;&|<>()'\"]+", text) if word]
    for word in words:
        stem = PurePosixPath(word).name
        if re.match(r"[A-Za-z]", stem) and stem not in _WRAPPERS and "=" not in word:
            return task_name(stem.rsplit(".", 1)[0] if "." in stem[1:] else stem)
    return "entry"
