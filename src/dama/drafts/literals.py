"""Values that a text of a shell gives its variables, put where it refers to them.

`P=x; mysql -p$P` holds as much as `mysql -px`: whoever looks for something in a text looks at both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = r"(?P<name>[A-Za-z_]\w{0,99})"
_QUOTED = r"(?P<quote>\\?[\"']|)(?P<value>[^\s\"'$`<>|;&(){}\\]{1,500})(?P=quote)"
_OPTIONS = r"(?:-\w+[ \t]{1,9}(?:\d+[ \t]{1,9})?){0,5}"
_GIVEN = (
    re.compile(rf"(?<![\w$-]){_NAME}=(?:\$(?='))?{_QUOTED}"),
    re.compile(rf"\bread[ \t]{{1,9}}{_OPTIONS}{_NAME}\s{{0,9}}<<<\s{{0,9}}(?:\$(?='))?{_QUOTED}"),
    re.compile(
        rf"\bread[ \t]{{1,9}}{_OPTIONS}{_NAME}\s{{0,9}}<[ \t]{{0,9}}<\([ \t]{{0,9}}"
        r"(?:echo|printf)[ \t]{1,9}(?:-\w+[ \t]{1,9}|[\"']?%s(?:\\n)?[\"']?[ \t]{1,9})?"
        rf"{_QUOTED}"
    ),
    re.compile(
        rf"\bread[ \t]{{1,9}}{_OPTIONS}{_NAME}\s{{0,9}}"
        rf"<<-?[ \t]{{0,9}}[\"'\\]?\w{{1,40}}[\"']?\s{{1,9}}{_QUOTED}"
    ),
    re.compile(
        rf"\bprintf[ \t]{{1,9}}-v[ \t]{{1,9}}{_NAME}[ \t]{{1,9}}"
        rf"(?:\\?[\"']?%\w(?:\\n)?\\?[\"']?[ \t]{{1,9}})?{_QUOTED}"
    ),
    re.compile(rf"\bsetenv[ \t]{{1,9}}{_NAME}[ \t]{{1,9}}{_QUOTED}"),
    re.compile(rf"\bset[ \t]{{1,9}}(?:-\w+[ \t]{{1,9}}){{1,3}}{_NAME}[ \t]{{1,9}}{_QUOTED}"),
    re.compile(rf"\bfor[ \t]{{1,9}}{_NAME}[ \t]{{1,9}}in[ \t]{{1,9}}{_QUOTED}"),
)
_REFERENCE = re.compile(r"\$(?:(\w{1,100})|\{(\w{1,100})\})")
_DEFAULT = re.compile(r"\$\{\w{1,100}:?[-=]([^\s{}$`]{1,500})\}")
LONGEST = 20_000


def given_in(text: str) -> Iterator[tuple[str, str]]:
    """The variables that a text gives a value of its own, with that value.

    Args:
        text: A command, or several; assignments, `read`, `printf -v`, `setenv` and `for`.
    """
    for pattern in _GIVEN:
        yield from ((found["name"], found["value"]) for found in pattern.finditer(text))


def with_literals(text: str) -> str:
    """A text with its own values and defaults where it refers to variables.

    Args:
        text: A command, or several; of what is longer than 20,000 characters nothing is changed.

    Returns:
        The text, which no shell would take any more: for looking at only.
    """
    if len(text) > LONGEST or "$" not in text:
        return text
    text = _DEFAULT.sub(r"\1", text)
    given = dict(given_in(text))

    def value(found: re.Match[str]) -> str:
        return given.get(found[1] or found[2], found[0])

    return _REFERENCE.sub(value, text) if given else text
