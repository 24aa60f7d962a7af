"""Commands of a shell, read with its grammar: what of them can be declared, and what cannot.

`cd FOLDER &&`, variables before a command and the redirection of a log are taken off where the
grammar says that they are that. Whatever else there is stays as it was written, as one text for the
shell: nothing is changed within a word.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from dama import clock
from dama.drafts.secret import NAME, secret_in

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_PLAIN = (
    "word",
    "number",
    "raw_string",
    "string",
    "string_content",
    "concatenation",
    "command_name",
)
_EXPANDED = re.compile(r"[*?\[~{!\\#]")
# What is kept of a run anyway; any other file is what the command is there for, among logs too.
_LOG = re.compile(
    r"/dev/(?:null|stdout|stderr)|/proc/(?:1|self)/fd/[12]|.*\.(?:log|err|out)(?:\.\S*)?|(?:.*/)?logs?/(?:[^./]+|.*\.(?:txt|\d+)|.*/[^./]+)",
    re.IGNORECASE,
)
# What only a shell has.
_BUILT_IN = (
    ".", ":", "alias", "bg", "bind", "break", "builtin", "caller", "cd", "command", "continue",
    "declare", "dirs", "disown", "enable", "eval", "exec", "exit", "export", "fc", "fg", "getopts",
    "hash", "history", "jobs", "let", "local", "logout", "mapfile", "popd", "pushd", "read",
    "readarray", "readonly", "return", "set", "shift", "shopt", "source", "suspend", "times",
    "trap", "type", "typeset", "ulimit", "umask", "unalias", "unset", "wait",
)  # fmt: skip
LONGEST = 100_000
MOST_SECONDS = 2.0
PIECE = 65_536


@dataclass(frozen=True)
class Line:
    """A command of a shell.

    Attributes:
        text: What is left of it.
        words: Its words, when the shell would only have split them; None when it needs one.
        folder: Where `cd` went first; None when it did not.
        env: The variables before it.
        secrets: The names of those among them that look secret; their values are left out.
        outputs: The files of the logs that were taken off; `/dev/null` for nowhere.
    """

    text: str
    words: tuple[str, ...] | None = None
    folder: str | None = None
    env: dict[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def read_line(text: str) -> Line:
    """Read a command; one that is longer than 100,000 characters or no shell is left as it is."""
    line = Line(text.strip())
    if len(text) > LONGEST:
        return line
    for step in (_without_cd, _without_log, _without_variables):
        line = step(line)
    statement = _only(line.text)
    if (
        statement is not None
        and statement.type == "command"
        and all(map(_is_plain, statement.named_children))
        # Not of the line: what ends a statement is no word of it.
        and (words := tuple(shlex.split(_text(statement))))[0] not in _BUILT_IN
    ):
        return replace(line, words=words)
    return line


def is_shell(text: str) -> bool:
    """Whether a shell would take it as commands; the grammar takes `word ( ... )`, too."""
    front = _statements(text) if len(text) <= LONGEST else []
    found = bool(front)
    while found and front:
        node = front.pop()
        found = node.type != "command" or all(c.type != "subshell" for c in node.named_children)
        front += node.named_children
    return found


def without_raw(text: str) -> str:
    """A script without what the shell takes as it is: `$1` there is a word of awk or the like."""
    if len(text) > LONGEST:
        return text
    content = bytearray(text.encode())
    root = _root(bytes(content))
    front = [root] if root else []
    while front:
        node = front.pop()
        begin = next((c for c in node.children if c.type == "heredoc_start"), None)
        if begin is not None and re.match(r"['\"\\]", _text(begin)):
            front += [c for c in node.children if c.type != "heredoc_body"]
            for body in (c for c in node.children if c.type == "heredoc_body"):
                content[body.start_byte : body.end_byte] = b" " * (body.end_byte - body.start_byte)
        elif node.type == "raw_string":
            content[node.start_byte : node.end_byte] = b" " * (node.end_byte - node.start_byte)
        else:
            front += node.children
    return content.decode()


def _without_cd(line: Line) -> Line:
    """`cd FOLDER && ...` and `cd FOLDER; ...`."""
    nodes = _statements(line.text)
    if len(nodes) == 1:
        # The grammar hangs the redirections of the last command on the whole list.
        whole = nodes[0].named_children[0] if nodes[0].type == "redirected_statement" else nodes[0]
        nodes = _parts(whole)
    if not nodes[1:] or nodes[0].type != "command":
        return line
    match nodes[0].named_children:
        case [command, folder] if _text(command) == "cd" and _is_plain(folder):
            if _text(folder).startswith("-"):
                return line
        case _:
            return line
    rest_begins = nodes[1].start_byte
    rest_text = line.text.encode()[rest_begins:].decode()
    return replace(line, text=rest_text, folder=shlex.split(_text(folder))[0])


def _parts(node: Node) -> list[Node]:
    """The first command of a list of `&&` and what follows it; it leans to the left."""
    second: Node | None = None
    while node.type == "list":
        node, operator, second = node.children[:3]
        if operator.type != "&&":
            return []
    return [node, second] if second else []


def _without_log(line: Line) -> Line:
    """Redirections of a whole command, when all that they name is a log."""
    statement = _only(line.text)
    if statement is None or statement.type != "redirected_statement":
        return line
    body, *redirects = statement.named_children
    if body.type != "command" or any(each.type != "file_redirect" for each in redirects):
        return line
    files: list[str] = []
    for each in redirects:
        target, sign = each.named_children[-1], re.sub(r"\s", "", _text(each))
        if sign == "2>&1":
            continue
        if len(each.children_by_field_name("destination")) != 1:
            return line  # the grammar hangs arguments on it that come later
        if not re.match(r"(?:[12]|&)?>", sign) or not _is_plain(target):
            return line
        name = shlex.split(_text(target))[0]
        if not _LOG.fullmatch(name) and not sign.startswith("2>"):
            return line
        files.append(name)
    text = line.text.encode()[body.start_byte : body.end_byte].decode()
    return replace(line, text=text, outputs=tuple(files))


def _without_variables(line: Line) -> Line:
    """Variables before a simple command, as long as their values are plain."""
    statement = _only(line.text)
    if statement is None or statement.type != "command":
        return line
    env, secrets = dict(line.env), list(line.secrets)
    begin = statement.start_byte
    for node in statement.named_children:
        if node.type != "variable_assignment":
            begin = node.start_byte
            break
        name, *value = node.named_children
        if name.type != "variable_name" or not all(map(_is_plain, value)):
            begin = node.start_byte
            break
        text = (
            shlex.split(_text(value[0]))[0] if value and _text(value[0]) not in {"''", '""'} else ""
        )
        if NAME.search(_text(name)) or secret_in(text):
            secrets.append(_text(name))
        else:
            env[_text(name)] = text
    else:
        return line  # variables alone: there is no command
    taken = {*env, *secrets} - {*line.env, *line.secrets}
    if any(re.search(rf"\$\{{?[!#]?{name}\b", line.text) for name in taken):
        return line  # the shell would have read it before it is set
    rest = line.text.encode()[begin:].decode()
    return replace(line, text=rest, env=env, secrets=tuple(secrets))


def _only(text: str) -> Node | None:
    """The one statement of a text; None for several, and for what is no shell."""
    nodes = _statements(text)
    return nodes[0] if len(nodes) == 1 else None


def _statements(text: str) -> list[Node]:
    root = _root(text.encode())
    return [] if root is None or root.has_error else list(root.named_children)


def _root(content: bytes) -> Node | None:
    """What a text is; None for one that takes too long, as a thousand brackets do."""
    until = clock.monotonic() + MOST_SECONDS

    def is_late(*_: object) -> bool:
        return clock.monotonic() > until

    try:
        tree = _parser().parse(
            lambda offset, _: content[offset : offset + PIECE], progress_callback=is_late
        )
    except ValueError:
        _parser().reset()
        return None
    return tree.root_node if tree else None


def _is_plain(node: Node) -> bool:
    """Whether the shell would take a word as it is, without its quotes."""
    if node.type not in _PLAIN:
        return False
    if node.type in {"word", "number"} and _EXPANDED.search(_text(node)):
        return False
    if node.type == "string" and re.search(r"[$`\\!]", _text(node)):
        return False
    return node.type == "string" or all(map(_is_plain, node.named_children))


def _text(node: Node) -> str:
    return (node.text or b"").decode()


@cache
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))
