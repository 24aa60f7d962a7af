"""Pages of documentation as a reader types them: one shell for each page, in a project of its own.

Every block of a page is used: commands are typed in their order, settings are read by the product,
Python and SQL are run. What a page takes for granted (a folder, a context, another terminal) is
said by a `Page`; a command or block that is left out has its reason there.
"""

import ast
import os
import re
import select
import subprocess
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE = 120.0
# Runs a snippet, with await wherever a notebook takes it.
SNIPPET = """import ast, asyncio, inspect, sys
sys.path.insert(0, ".")
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__"}
done = eval(code, names)
if inspect.iscoroutine(done):
    asyncio.run(done)
"""


@dataclass(frozen=True)
class Run:
    """A block of Python that is run, after what the page takes for granted."""

    after: str = ""


@dataclass(frozen=True)
class Only:
    """A block that is compiled but not run, with the reason."""

    reason: str


@dataclass(frozen=True)
class Page:
    """What a page takes for granted.

    Attributes:
        files: In the folder of the reader, by name. None as content makes a link into the checkout.
        before: Commands that the reader has typed, or that the text describes.
        changes: Other texts in its commands, such as the number of a context.
        ends: Exit codes other than 0, by a part of the command.
        behind: What continues in another terminal, by a part of the command: what it prints when it
            is at work.
        interrupted: What gets a Ctrl-C, by a part of the command: after which output.
        left_out: The reason, by a part of the command.
        keeps: What is done with blocks of Python and TOML, in their order: the file that they are
            kept in, a + appends; or how they are run. None for settings that are only read.
        shown: The command whose output the block without a language shows.
        others: Why blocks of other languages are not used, by language.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    ends: dict[str, int] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)
    interrupted: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    keeps: tuple[str | Run | Only | None, ...] = ()
    shown: str = ""
    others: dict[str, str] = field(default_factory=dict)


class Shell:
    """A shell in which a reader types.

    Args:
        folder: Where.
        environ: Its environment.
    """

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._out = folder.parent / "out"
        self._out.mkdir()
        self._number = 0
        self._answers, end = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environ | {"DAMA_ANSWERS": str(end)},
            stdin=subprocess.PIPE,
            pass_fds=[end],
            text=True,
        )
        os.close(end)
        self._end = end

    def type(self, command: str) -> tuple[int, str]:
        """Type a command and wait for its end; give its exit code and what it printed."""
        self._number += 1
        out = self._out / str(self._number)
        self._send(f"{{ {command}\n}} > {out} 2>&1 < /dev/null; echo $? >&{self._end}")
        return int(self._answer(command)), out.read_text()

    def begin(self, command: str, until: str) -> str:
        """Type a command in another terminal; give its pid when it has printed something."""
        self._number += 1
        out = self._out / str(self._number)
        out.touch()
        self._send(f"{{ exec {command}\n}} > {out} 2>&1 < /dev/null & echo $! >&{self._end}")
        pid = self._answer(command)
        deadline = time.monotonic() + PATIENCE
        while not re.search(until, out.read_text()):
            assert time.monotonic() < deadline, f"{command}: {out.read_text()}"
            time.sleep(0.05)
        return pid

    def close(self, pids: list[str]) -> None:
        """Close all terminals."""
        for pid in pids:
            self.type(f"kill {pid}; wait {pid}; true")
        self._process.communicate("exit\n")
        os.close(self._answers)

    def _send(self, text: str) -> None:
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def _answer(self, command: str) -> str:
        found = b""
        while not found.endswith(b"\n"):
            poll = select.poll()  # select() takes no descriptor from 1,024 on
            poll.register(self._answers, select.POLLIN)
            ready = poll.poll(PATIENCE * 1000)
            assert ready, f"{command} has not ended."
            found += os.read(self._answers, 100)
        return found.decode().strip()


def blocks(path: Path) -> list[tuple[str, str]]:
    """The blocks of a page: language and text."""
    return BLOCK.findall(path.read_text())


def commands(text: str) -> list[str]:
    """The commands of a block: one a line, a backslash at its end continues it."""
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


class Reader:
    """Types a page.

    Args:
        page: What it takes for granted.
        folder: The project.
        shell: Where.
        database_url: Where its SQL is run.
    """

    def __init__(self, page: Page, folder: Path, shell: Shell, database_url: str) -> None:
        self._page = page
        self._folder = folder
        self._shell = shell
        self._database_url = database_url
        self._kept = list(page.keeps)
        self._snippets = 0
        self._shown = ""
        self._used: set[str] = set()
        self.pids: list[str] = []

    def read(self, found: list[tuple[str, str]]) -> None:
        """Use all blocks, in their order."""
        for command in self._page.before:
            self._type(command)
        for language, text in found:
            self._use(language, text)
        self._refuse_what_is_not_used()

    def _use(self, language: str, text: str) -> None:
        match language:
            case "sh" | "bash":
                for command in commands(text):
                    self._type(command)
            case "python":
                self._use_python(text)
            case "toml":
                self._use_settings(text)
            case "" if self._page.shown:
                look_alike(text, self._shown)
            case _:
                assert language in self._page.others, f"Nothing uses this {language}:\n{text}"
                self._used.add(language)
                if language == "sql" and not self._page.others[language]:
                    with psycopg.connect(self._database_url) as connection:
                        connection.execute(self._changed(text))

    def _type(self, command: str) -> None:
        page = self._page
        if self._of(page.left_out, command):
            return
        command = self._changed(command)
        if until := self._of(page.behind, command):
            self.pids.append(self._shell.begin(command, until))
            return
        if until := self._of(page.interrupted, command):
            pid = self._shell.begin(command, until)
            code, printed = self._shell.type(f"kill -INT {pid}; wait {pid}")
            wanted = 130
        else:
            code, printed = self._shell.type(command)
            wanted = self._of(page.ends, command) or 0
        assert code == wanted, f"{command}\nended with {code}, not {wanted}:\n{printed}"
        assert "Traceback" not in printed, f"{command}:\n{printed}"
        if page.shown and page.shown in command:
            self._shown = printed

    def _use_python(self, text: str) -> None:
        lines = text.splitlines()
        if all(line.startswith("@") for line in lines):  # one definition for each
            text = "".join(
                f"{line}\nasync def task{n}(task, airport: str): ...\n"
                for n, line in enumerate(lines)
            )
        assert self._kept, f"Nothing says what is done with\n{text}"
        match self._kept.pop(0):
            case str(name):
                self._write(name, text)
            case Run(after):
                self._snippets += 1
                self._write("snippet.py", SNIPPET)
                self._write(f"block{self._snippets}.py", f"{after}\n{text}")
                self._type(f"python snippet.py block{self._snippets}.py")
            case Only():
                compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def _use_settings(self, text: str) -> None:
        tomllib.loads(text)
        name = self._kept.pop(0) if self._kept else None
        self._write(name or "settings/dama.toml", text)
        if not name:
            code, printed = self._shell.type("cd settings && dama services; cd ..")
            assert code == 0, f"{text}:\n{printed}"

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name.removeprefix("+")
        path.parent.mkdir(exist_ok=True)
        old = path.read_text() if name.startswith("+") and path.exists() else ""
        path.write_text(f"{old}\n{text}" if old else text)

    def _changed(self, text: str) -> str:
        for old, new in self._page.changes:
            if old in text:
                self._used.add(old)
                text = text.replace(old, new)
        return text

    def _of(self, known: dict, command: str) -> object:
        """What is said of a command."""
        part = next((part for part in known if part in command), None)
        self._used.add(part)
        return known.get(part)

    def _refuse_what_is_not_used(self) -> None:
        """What is said of a command that the page no longer has would hide the next one."""
        page = self._page
        said = [*page.ends, *page.behind, *page.interrupted, *page.left_out, *page.others]
        unused = [
            part for part in [*said, *(old for old, _ in page.changes)] if part not in self._used
        ]
        assert not unused, f"The page has nothing of {unused}."
        assert not self._kept, f"The page has no block for {self._kept}."


def look_alike(shown: str, printed: str) -> None:
    """Compare an output with what the page shows: times vary, a line of dots stands for any."""
    pattern = "".join(map(_pattern, shown.splitlines()))
    assert re.search(pattern, printed), f"The page shows\n{shown}\nand this is printed:\n{printed}"


def _pattern(line: str) -> str:
    """What fits a line: columns are as wide as they like."""
    if line == "...":
        return r"(?:.*\n)*?"
    escaped = re.sub(r"\d+\\\.\d+\\ s", r"[\\d.]+ m?s", re.escape(line))
    return re.sub(r"(?:\\ ){2,}", r"\\s+", escaped) + r"\s*\n"
