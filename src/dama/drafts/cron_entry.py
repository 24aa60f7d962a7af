"""An entry of a crontab: its times, its command as cron would start it, and what to call it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dama.domain.errors import InvalidScheduleError
from dama.domain.schedule import NICKNAMES, check_cron
from dama.drafts.draft import task_name
from dama.drafts.secret import secret_in
from dama.drafts.shell import Line, is_shell, read_line

if TYPE_CHECKING:
    from collections.abc import Sequence

# The clock of cron's host, which the crontab does not tell.
UNKNOWN_ZONE = "THE-ZONE-OF-THAT-HOST"
# A number, a star, or the name of a month or a day: words of a command are none.
_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
_FIELD = rf"(?:[\d*?~]|(?i:(?:{_NAMES})[a-z]{{0,6}}|h|lw?)(?![a-zA-Z]))[\d*?,/A-Za-z#~()-]*"
_EVERY = r"@every\s+(?:\d{1,9}[smhd]){1,4}|@every_(?:minute|second)|@\d{1,9}"
_WHEN = rf"(?i:(?:@reboot|{'|'.join(NICKNAMES)})\b|{_EVERY})"
# Of an anacrontab: a period in days, a delay in minutes, what the job is called.
_OF_ANACRON = re.compile(
    rf"^\s*(?P<period>\d{{1,3}}|(?i:{'|'.join(NICKNAMES)}))\s+\d{{1,5}}\s+[A-Za-z][\w.-]*\s+"
    r"(?P<command>[^\s*?\d].*)$"
)
_PERIODS = {"1": "@daily", "7": "@weekly", "30": "@monthly", "31": "@monthly"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Where a minus is before the minute, nothing is written to the log of the system.
ENTRY = re.compile(
    rf"^\s*-?(?P<when>{_WHEN}|{_FIELD}(?:\s+{_FIELD}){{4}})\s+(?P<command>[^\n]*[^\W\d_][^\n]*)$"
)
# No command is called so: seconds or years, as other schedulers have them.
MORE = 2  # fields: seconds and years
_MORE_FIELDS = re.compile(
    r"([*?](?:/\d+)?|\d[\d,/-]*|(?:SUN|MON|TUE|WED|THU|FRI|SAT)(?:[-,][A-Z]{3})*)\s+"
)
_NEVER_COMMANDS = ("root", "www-data", "nobody", "daemon")  # users whom no command is called like
_USERS = (*_NEVER_COMMANDS, "postgres")
_BOTH = ("mail", "backup", "nginx", "mysql")  # users, and programs
_USER = re.compile(r"[a-z_][a-z0-9_-]*(?::[a-z_][a-z0-9_-]*)?(?:/[a-z_][a-z0-9_-]*)?")
# What starts something else, and what everybody has: neither the subject of an entry nor a user.
_WRAPPERS = (
    "bash", "sh", "env", "nice", "ionice", "nohup", "timeout", "flock", "sudo", "su", "runuser",
    "python", "python2", "python3", "node", "Rscript", "perl", "php", "ruby", "java", "exec",
    "time", "chronic", "npx", "uv", "poetry", "bundle",
)  # fmt: skip
_COMMON = (
    *_WRAPPERS, "run-parts", "find", "rm", "cp", "mv", "cat", "ls", "touch", "chown", "chmod",
    "tar", "gzip", "rsync", "curl", "wget", "psql", "make", "docker", "git", "sed", "awk", "grep",
    "logrotate", "certbot", "tee", "ln", "mkdir", "sync", "systemctl", "service", "kill", "pkill",
)  # fmt: skip
_PREPARES = ("cd", "source", ".", "export", "set", "test", "[", "sleep", "echo", "umask", "ulimit")
_NOT_USERS = frozenset((*_COMMON, *_PREPARES)) - {"git"}
_FLAGS = re.compile(r"(?:-[nqs]\s+)+")
_GROUPS = ("{", "}", "!", "if", "then", "else", "fi", "do", "done", "while", "until")
_SCRIPT = re.compile(r"[\w.$/{}~-]*\w\.(?:sh|bash|ksh|py|pl|rb|php|js|mjs|ts|R|r|sql|jar|lua|tcl)")
_REDIRECTION = re.compile(r"(?:\d|&)?[<>]+&?\s*(?P<file>\S+)")


@dataclass
class Entry:
    """An entry as it was read.

    Attributes:
        when: Its five fields, or a name such as `@daily`.
        line: Its command.
        notes: What a person should know.
    """

    when: str
    line: Line
    notes: list[str]


def read_entry(found: re.Match[str], *, has_user: bool) -> Entry:
    """Read an entry; a user before the command, six and seven fields and `%` are understood."""
    when, text, notes = found["when"], found["command"].rstrip(), list[str]()
    if when.startswith("@"):
        when = when.lower()
    more: list[str] = []
    while not when.startswith("@") and len(more) < MORE and (field := _MORE_FIELDS.match(text)):
        more.append(field[1])
        text = text[field.end() :]
    if more:
        when = _without_seconds([*when.split(), *more], notes)
    first, *rest = text.split(None, 1)
    if has_user or first in _NEVER_COMMANDS:
        text = rest[0] if rest else ""
        is_sure = first in _USERS or text.startswith("/") or text.split(" ")[0] in _NOT_USERS
        doubt = "" if is_sure else f" If {first} is a program, put it before the command."
        notes.append(f"cron ran it as the user {first}.{doubt}")
    elif rest and rest[0].startswith("/") and _may_be_user(first):
        notes.append(
            f"Its first word, {first}, may be the user of a system's crontab: remove it then."
        )
    if flags := _FLAGS.match(text):
        text = text[flags.end() :]
        notes.append(f"cron had the flags {flags[0].strip()} for it, which are left out here.")
    return Entry(when, read_line(_with_input(text.strip(), notes)), notes)


def without_anacron(line: str) -> str:
    """A line of an anacrontab as one of a crontab: when, and the command; any other as it is."""
    found = _OF_ANACRON.match(line)
    if found is None or (ENTRY.match(line) and not found["period"].startswith("@")):
        return line
    period = found["period"]
    when = period if period.startswith("@") else _PERIODS.get(period, f"@every {period}d")
    return f"{when} {found['command']}"


def are_users(commands: Sequence[str]) -> bool:
    """Whether the first words of all commands are users rather than programs."""
    words = [command.split()[0] for command in commands]
    if any(word in _NEVER_COMMANDS for word in words) or any(map(_has_user, commands)):
        return all(_USER.fullmatch(word) and word not in _NOT_USERS for word in words)
    return bool(words) and all(
        word in _USERS or _is_user(word, command)
        for word, command in zip(words, commands, strict=True)
    )


def may_be_users(commands: Sequence[str]) -> bool:
    """Whether a comment that says so may be believed: no first word is a command elsewhere."""
    words = {command.split()[0] for command in commands}
    others = [word for each in commands for word in re.findall(r"(?:[;&|(]|&&)\s*([\w./-]+)", each)]
    return all(_USER.fullmatch(word) for word in words) and not words.intersection(others)


def _is_user(word: str, command: str) -> bool:
    """Whether what may be both is a user here: something that is surely a program follows."""
    rest = command.split()[1:2] or [""]
    return word in _BOTH and (rest[0].startswith("/") or rest[0] in _COMMON)


def _may_be_user(word: str) -> bool:
    return _USER.fullmatch(word) is not None and word not in (*_COMMON, *_PREPARES)


def _has_user(command: str) -> bool:
    """Whether it is a command without its first word only, as `etl ( cd /x; run )`."""
    first, *rest = command.split(None, 1)
    return bool(rest and _USER.fullmatch(first) and is_shell(rest[0]) and not is_shell(command))


def _without_seconds(fields: list[str], notes: list[str]) -> str:
    """Five fields of six or seven: seconds come first, years last."""
    seconds, *rest = fields
    years = rest[5:]
    if seconds != "0":
        notes.append(f"It had the seconds {seconds!r}; schedules here have minutes.")
    if years and years[0] not in "*?":
        notes.append(f"It was for the years {years[0]} only; schedules here have no years.")
    return " ".join("*" if each == "?" else each for each in rest[:5])


def _with_input(text: str, notes: list[str]) -> str:
    r"""What cron does first: `%` ends the command and begins its input, `\%` is a percent sign."""
    command, *lines = [part.replace(r"\%", "%") for part in re.split(r"(?<!\\)%", text)]
    if not lines:
        return command.rstrip()
    if not is_shell(command):
        notes.append("cron would cut it at its %, which leaves no command: it is kept whole.")
        return text.replace(r"\%", "%")
    if secret_in(" ".join(lines)) or secret_in(text):
        notes.append("cron gave it some text on standard input (after %); it is left out here.")
        return command.rstrip()
    notes.append("cron gave it what follows it (after %) on standard input.")
    return _fed(command.strip(), lines)


def _fed(command: str, lines: Sequence[str]) -> str:
    """A command with its standard input in the text for the shell."""
    given = [*lines[:-1], *filter(None, lines[-1:])]
    end = "END"
    while end in given:
        end += "_"
    whole = command if read_line(command).words else f"{{ {command}\n}}"
    return "\n".join([f"{whole} <<'{end}'", *given, end])


def schedule_of(when: str, schedule: str, task: str, zone: str) -> str:
    """How it is scheduled here, or why it cannot be."""
    if when == "@reboot":
        return "cron ran it when the machine started; nothing here does so."
    times = NICKNAMES.get(when) or (_times_of(when) if when.startswith("@") else when)
    if times is None:
        return f"It ran {when}; schedules here have the times of a clock and no such interval."
    fields = " ".join("*" if f == "?" else f for f in times.split())
    try:
        check_cron(fields)
    except InvalidScheduleError as error:
        return f"Its times {fields!r} cannot be a schedule here: {error}"
    return f'dama schedule add {schedule} {task} --cron "{fields}" --zone {zone or UNKNOWN_ZONE}'


def _times_of(interval: str) -> str | None:
    """An interval as the five fields that come to the same; None where none do."""
    parts = re.findall(r"(\d+)([smhd])", interval) or [(re.sub(r"\D", "", interval) or "60", "s")]
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    minutes, rest = divmod(seconds, 60)
    if interval == "@every_second" or rest or not minutes:
        return None
    if minutes in range(60) and 60 % minutes == 0:
        return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    hours, rest = divmod(minutes, 60)
    if rest or 24 % hours:
        return None
    return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")


def is_relative(line: Line) -> bool:
    """Whether it names something by where it is started."""
    if line.folder or line.words:
        return bool(line.folder) or any(map(_is_relative, line.words or ()))
    text = re.sub(r"<<'END_*'[\s\S]*|'[^']*'|\"[^\"]*\"", "", line.text)
    if re.search(r"\bcd\b", text):
        return False  # it goes where it wants to be
    files = (found["file"] for found in _REDIRECTION.finditer(text))
    words = re.split(r"[\s;|&()]+", _REDIRECTION.sub(" ", text))
    return any(re.match(r"[\w.]*[A-Za-z]", file) for file in files) or any(map(_is_relative, words))


def _is_relative(word: str) -> bool:
    if word.startswith(("/", "-", "~", "$")) or re.search(r"[\s=:]", word):
        return False
    return "/" in word or _SCRIPT.fullmatch(word) is not None


def name_of(text: str) -> tuple[str, ...]:
    """What to call it: like its script, else like the first word that is not about how it is run.

    Returns:
        The name, and a longer one where there is a further word, such as a sub-command.
    """
    text = re.sub(r"\$\(\(.*?\)\)|\$\([^()]*\)", "$", _REDIRECTION.sub(" ", text))
    parts = re.split(r"[;&|()'\"\n]+", text)
    commands = [[word for word in part.split() if word not in _GROUPS] for part in parts]
    own = [words for words in commands if words and words[0] not in _PREPARES]
    for is_wanted in (_SCRIPT.fullmatch, _is_name):
        for words in own:
            for place, word in enumerate(words):
                if is_wanted(word):
                    return _names(word, words[place + 1 :])
    return ("entry",)


def _is_name(word: str) -> bool:
    name = PurePosixPath(word).name
    is_plain = re.match(r"[A-Za-z]", name) is not None and "=" not in word
    return is_plain and name not in _WRAPPERS


def _names(word: str, others: Sequence[str]) -> tuple[str, ...]:
    name = PurePosixPath(word).name
    short = task_name(name.rsplit(".", 1)[0] if "." in name[1:] else name)
    further = next((other for other in others if re.match(r"[\w/.]", other)), None)
    if further is None:
        return (short,)
    return (short, f"{short}-{task_name(PurePosixPath(further).name)}")
