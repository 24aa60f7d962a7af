"""The shim: it starts one program, ends it as a whole when told to, and says how it ended."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dama.embedded import EmbeddedPostgres
from dama.programs.adoption import end
from dama.programs.packed import packed_shim
from dama.programs.process import runs_below, session_of, shims_of
from dama.programs.run_directory import State
from dama.programs.tail import first_byte, read_range
from tests.integration.programs import Shims, marked, wait_until

MAGIC = importlib.util.MAGIC_NUMBER
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def stay(name):
    open(name, "w").close()
    while True: time.sleep(60)
if os.fork() == 0:
    stay("forked")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stay("daemon")
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    stay("session")
stay("main")
"""


@pytest.fixture
def shims(tmp_path):
    """Shims, and nothing left of them."""
    shims = Shims(tmp_path / "runs")
    yield shims
    shims.close()


def family(shims, **options):
    """A program that forks, double-forks, makes sessions and ignores TERM; all of it is there."""
    directory = shims.start(sys.executable, "-c", FAMILY, **options)
    names = ("forked", "daemon", "session", "main")
    wait_until(lambda: all((directory.path / name).exists() for name in names))
    assert len(marked(shims.mark)) == 4
    return directory


def test_the_database_of_the_home_outlives_a_program_whose_command_started_it(shims, tmp_path):
    """It is nobody's child; another server that the program started is part of the program."""
    ours, other = EmbeddedPostgres(tmp_path), EmbeddedPostgres(tmp_path / "other")
    code = (
        "import pathlib, sys; from dama.embedded import EmbeddedPostgres as E\n"
        "for home in sys.argv[1:]: E(pathlib.Path(home)).start()"
    )
    try:
        told = shims.ended(
            shims.start(sys.executable, "-c", code, str(tmp_path), str(tmp_path / "other"))
        )

        assert (told["code"], told["why"]) == (0, "")
        assert ours.status().running
        assert not other.status().running
    finally:
        ours.stop()


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_and_the_output_are_kept(shims, code):
    directory = shims.start("sh", "-c", f"echo out; echo err >&2; exit {code}")
    told = shims.ended(directory)
    assert (told["code"], told["signal"], told["why"]) == (code, None, "")
    assert (directory.stdout.read_text(), directory.stderr.read_text()) == ("out\n", "err\n")
    assert directory.state() is State.ENDED
    assert not directory.is_held()
    assert told["ended_at"] >= told["started_at"]
    assert told["usage"]["max_rss"] > 0


def test_a_signal_is_no_exit_code(shims):
    told = shims.ended(shims.start("sh", "-c", "kill -SEGV $$"))
    assert (told["code"], told["signal"]) == (None, signal.SIGSEGV)


@pytest.mark.parametrize(
    ("argv", "options", "code", "words"),
    [
        (["no-such-program"], {}, 127, "it is not in PATH (/"),
        (["./no-such-program"], {}, 127, "No such file"),
        (["/etc/passwd"], {}, 126, "Permission denied"),
        (["true"], {"cwd": "/no/such/folder"}, 127, "/no/such/folder"),
        (["true"], {"cwd": "/etc/passwd"}, 126, "its folder is a file: /etc/passwd"),
        (["/etc"], {}, 126, "it is a folder: /etc"),
    ],
)
def test_what_can_not_be_started_says_why(shims, argv, options, code, words):
    told = shims.ended(shims.start(*argv, **options))
    assert told["code"] == code
    assert words in told["error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("#!/bin/bash\r\necho hello\r\n", "carriage return"),
        ("#!/no/such/perl -w\nprint 1\n", "interpreter /no/such/perl is missing"),
        ("#! /no/such/python", "interpreter /no/such/python is missing"),
        ("#!/opt/my tools/python\n", "interpreter /opt/my is missing"),
        ("#!/usr/bin/env bash\r\necho hello\r\n", "carriage return"),
        ("#!/usr/bin/env -S bash\r\necho hello\r\n", "carriage return"),
        ("#!/usr/bin/env no-such-perl\nprint 1\n", "interpreter no-such-perl is not in PATH"),
        ("#!/usr/bin/env -S no-such-perl -w\n", "interpreter no-such-perl is not in PATH"),
    ],
)
def test_a_file_that_is_there_is_not_called_missing(shims, tmp_path, content, words):
    """The kernel says the same of a file that is missing and of one whose interpreter is."""
    script = tmp_path / "script.sh"
    script.write_bytes(content.encode())
    script.chmod(0o755)
    told = shims.ended(shims.start(str(script)))
    assert told["code"] == 127
    assert "the file is there" in told["error"]
    assert words in told["error"]
    assert "No such file" not in told["error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbf#!/bin/bash\necho hello\n", "byte order mark"),
        (b"\x7fELF\x02\x01\x01\0" + bytes(8) + b"\x02\0\xff\xff" + bytes(64), "another machine"),
        ("#!/bin/bash\necho hello\n".encode("utf-16"), "not a program"),
        (b"MZ\x90\0\x03\0\0\0", "not a program"),
    ],
    ids=["mark", "machine", "utf-16", "windows"],
)
def test_a_file_that_no_machine_of_this_kind_executes_is_not_given_to_sh(
    shims, tmp_path, content, words
):
    """A shell would look for commands in it."""
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    directory = shims.start(str(program))
    told = shims.ended(directory)
    assert (told["code"], words in told["error"]) == (126, True), told
    assert directory.stderr.read_text() == ""


def test_what_env_does_itself_is_left_to_it(shims, tmp_path):
    script = tmp_path / "my script.sh"
    script.write_text("#!/usr/bin/env -S A=b bash -e\necho $A\n")
    script.chmod(0o755)
    directory = shims.start(str(script))
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_text() == "b\n"


def test_a_script_that_is_named_without_its_folder_says_how_to_name_it(shims, tmp_path):
    """A shell does the same; a crontab has the folder in its PATH."""
    (tmp_path / "load.sh").write_text("echo hello\n")
    told = shims.ended(shims.start("load.sh", cwd=str(tmp_path)))
    assert "write ./load.sh" in told["error"]


def test_a_link_to_nothing_says_where_it_leads(shims, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to("/no/such/release")
    told = shims.ended(shims.start(str(link)))
    assert (told["code"], "link to /no/such/release" in told["error"]) == (127, True)


def test_a_script_that_names_no_interpreter_is_one_for_sh(shims, tmp_path):
    """As in a shell, which is where people have tried it."""
    script = tmp_path / "script"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    directory = shims.start(str(script), "a b")
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_text() == "a b\n"


def test_cancelling_leaves_no_process_of_a_program_that_hides_and_ignores_term(shims):
    """Forks, daemons and sessions of their own descend from the shim, which inherits them."""
    directory = family(shims)
    os.kill(directory.shim(), signal.SIGTERM)
    told = shims.ended(directory)
    assert (told["why"], told["told"], told["killed"], told["left"]) == ("cancelled", 4, 4, 0)
    assert told["signal"] == signal.SIGKILL
    assert marked(shims.mark) == []


def test_a_time_out_ends_all_of_a_program(shims):
    directory = family(shims, timeout=1.0)
    told = shims.ended(directory)
    assert (told["why"], told["killed"] > 0, told["left"]) == ("timed out", True, 0)
    assert marked(shims.mark) == []


def test_a_program_may_tidy_up_when_it_is_cancelled(shims):
    """TERM comes first; within the grace the program's own exit code counts."""
    script = "trap 'echo tidied; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    directory = shims.start("bash", "-c", script, grace=30.0)
    wait_until(directory.stdout.read_text)
    os.kill(directory.shim(), signal.SIGTERM)
    told = shims.ended(directory)
    assert (told["code"], told["why"], told["killed"]) == (7, "cancelled", 0)
    assert directory.stdout.read_text() == "ready\ntidied\n"


def test_what_a_program_leaves_behind_ends_with_it(shims):
    """The outcome is written when nothing continues any more."""
    directory = shims.start("bash", "-c", "setsid sleep 600 & sleep 600 & exit 4")
    told = shims.ended(directory)
    assert (told["code"], told["why"], told["left"]) == (4, "", 0)
    assert marked(shims.mark) == []


def test_the_shim_is_small(shims):
    """There is one for each program that runs."""
    directory = shims.start("sleep", "600")
    wait_until(directory.pid)
    status = Path(f"/proc/{directory.shim()}/status").read_text()
    (resident,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    assert int(resident.split()[1]) <= 11.5 * 1024
    os.kill(directory.shim(), signal.SIGTERM)
    shims.ended(directory)


def test_a_killed_shim_leaves_the_program_unsupervised(shims):
    directory = shims.start("bash", "-c", "echo begun; sleep 600")
    wait_until(directory.stdout.read_text)  # before that its beginning would not be on record
    assert directory.state() is State.HELD
    os.kill(directory.shim(), signal.SIGKILL)
    os.waitpid(shims.shims.pop(directory), 0)
    assert directory.state() is State.UNSUPERVISED
    os.killpg(directory.pid(), signal.SIGKILL)
    wait_until(lambda: directory.state() is State.LOST)


async def test_without_its_shim_all_of_a_program_is_ended_as_well(shims):
    """Its processes know where its events go, whatever their session is."""
    events = {"DAMA_EVENTS": str(shims.directories.of(1, 1).events), "MARK": shims.mark}
    directory = family(shims, environment={**os.environ, **events})
    os.kill(directory.shim(), signal.SIGKILL)
    os.waitpid(shims.shims.pop(directory), 0)  # noqa: ASYNC222 - it is dead
    await end(directory)
    assert marked(shims.mark) == []


def test_a_pid_that_was_used_again_is_not_the_program(shims):
    """The start time and the boot tell it from another process with its number."""
    directory = shims.start("true")
    shims.ended(directory)
    (directory.path / "exit.json").unlink()
    known = directory.read("pid.json")
    mine = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    for wrong in ({"started": "1"}, {"started": mine, "boot_id": "another"}):
        directory.write("pid.json", known | {"pid": os.getpid(), "started": mine} | wrong)
        assert directory.state() is State.LOST
    directory.write("pid.json", known | {"pid": os.getpid(), "started": mine})
    assert directory.state() is State.UNSUPERVISED


def test_secrets_are_in_no_file(shims):
    """The environment goes to the shim without touching a disk."""
    environment = {**os.environ, "SECRET": "hunter2", "MARK": shims.mark}
    directory = shims.start("sh", "-c", "test ${#SECRET} = 7", environment=environment)
    assert shims.ended(directory)["code"] == 0
    files = [path for path in directory.path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert {path.stat().st_mode & 0o077 for path in files if path.suffix == ".json"} == {0}


def test_a_terminal_is_given_to_who_wants_one(shims):
    directory = shims.start("sh", "-c", "test -t 1 && echo yes", pty=True)
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_bytes() == b"yes\r\n"


def test_limits_are_the_programs_own(shims):
    directory = shims.start(
        "sh", "-c", "ulimit -v; nice; cat /proc/self/oom_score_adj", memory=1 << 30, nice=5
    )
    shims.ended(directory)
    memory, niceness, score = map(int, directory.stdout.read_text().split())
    assert memory == (1 << 30) // 1024
    assert niceness == os.nice(0) + 5
    assert score > int(Path("/proc/self/oom_score_adj").read_text())


def test_logs_give_the_disk_back_and_keep_their_places(shims):
    """Beyond the cap the oldest bytes go; what is left is where it was."""
    script = "head -c 30000000 /dev/zero | tr '\\0' x; echo end; sleep 600"
    directory = shims.start("bash", "-c", script, log_cap=1_000_000)
    wait_until(lambda: directory.stdout.stat().st_size == 30_000_004)
    wait_until(lambda: directory.stdout.stat().st_blocks * 512 < 3_000_000)
    assert directory.stdout.read_bytes()[-8:] == b"xxxxend\n"
    os.kill(directory.shim(), signal.SIGTERM)
    shims.ended(directory)


def test_the_shim_reads_only_its_own_copy(shims):
    """A deploy changes no code under a running program."""
    directory = shims.start("sleep", "600")
    wait_until(directory.shim)
    command = Path(f"/proc/{directory.shim()}/cmdline").read_bytes().decode().split("\0")
    assert str(directory.path / "shim.pyz") in command
    assert json.loads((directory.path / "spec.json").read_text())["argv"] == ["sleep", "600"]
    os.kill(directory.shim(), signal.SIGTERM)
    assert shims.ended(directory)["signal"] == signal.SIGTERM


def test_another_python_than_that_of_the_worker_takes_the_source_of_the_shim(shims, monkeypatch):
    """It was replaced under a worker that runs; bytecode is of one version."""
    packed = packed_shim()
    monkeypatch.setattr(
        "dama.programs.launch.packed_shim", lambda: packed.replace(MAGIC, b"\0\0\r\n")
    )
    assert packed.count(MAGIC) > 3
    told = shims.ended(shims.start("sh", "-c", "exit 3", pty=True))
    assert told["code"] == 3


@pytest.mark.parametrize("name", ["shim.pyz", "shim.py"])
def test_the_shim_of_an_earlier_version_is_found_without_its_files(tmp_path, name):
    """It was one file then; the program that it has continues over the upgrade."""
    folder = tmp_path / "runs" / "7" / "1"
    words = [sys.executable, "-c", "import time; time.sleep(600)", str(folder / name), str(folder)]
    with subprocess.Popen(words) as shim:
        try:
            wait_until(lambda: shims_of(folder) == {shim.pid})
            assert runs_below(tmp_path / "runs") == {folder}
        finally:
            shim.kill()


def test_a_cancel_in_the_middle_of_the_start_ends_program_and_record(shims):
    """The program may not have become itself yet, and may be gone before it was let through."""
    for _ in range(30):
        directory = shims.start("sleep", "600")
        while not (directory.path / "pid.json").exists():  # no pause: the gap is short
            pass
        os.kill(directory.read("pid.json")["shim"], signal.SIGTERM)
    for directory in [*shims.shims]:
        assert shims.ended(directory)["signal"] == signal.SIGTERM


@pytest.mark.parametrize(
    "filtering",
    [
        "exec > >(while read -r line; do echo $line; done)",
        "exec > >(sed s/x/y/)",
        "exec > >(tee copy)",
        "exec > >(sleep 0.5; cat)",
    ],
)
def test_a_filter_behind_the_output_ends_by_itself(shims, filtering):
    """The main process ends first; what it wrote is in the filter's pipe, as in a shell."""
    directory = shims.start("bash", "-c", f"{filtering}; seq 1 5001; echo last")
    told = shims.ended(directory)
    lines = directory.stdout.read_text().splitlines()
    assert (len(lines), lines[-1], told["told"]) == (5002, "last", 0)


@pytest.mark.parametrize("pty", [False, True], ids=["files", "pty"])
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("exec > >(sed s/z/b/) 2> >(cat >&2); seq 500", 500),
        ("exec > >(tee a | tee b | tee c); seq 500", 500),
        ("exec > >(exec > >(exec > >(cat); cat); cat); seq 5000", 5000),
        ("exec > >(cat; sleep 0.2; echo tail); seq 10", 11),
        ("setsid --fork bash -c 'sleep 0.2; seq 100'", 100),
        ("for i in 1 2 3; do (sleep 0.$i; echo $i) & done", 3),
        ("mkfifo p; cat p & exec > p; seq 500", 500),
        ("exec 3> >(cat); coproc cat >&3; exec >&${COPROC[1]}; seq 500", 500),
    ],
)
def test_what_the_main_process_leaves_behind_writes_all_of_its_lines(shims, script, lines, pty):
    """On a terminal, too: the end of the main process hangs up nobody."""
    directory = shims.start("bash", "-c", script, pty=pty)
    told = shims.ended(directory)
    assert (directory.stdout.read_bytes().count(b"\n"), told["told"]) == (lines, 0)


async def test_a_terminal_without_its_shim_leaves_no_process(shims):
    """The hangup ends the program; what ignores it is found by the session of the shim."""
    script = "trap '' HUP TERM; env -i sleep 613 & echo up; wait; sleep 613"
    directory = shims.start("bash", "-c", script, pty=True)
    wait_until(directory.stdout.read_text)
    shim, program = directory.shim(), directory.pid()
    assert os.getsid(program) == shim
    os.kill(shim, signal.SIGKILL)
    os.waitpid(shims.shims.pop(directory), 0)  # noqa: ASYNC222 - it is dead
    assert await end(directory) == set()
    assert session_of(shim, directory.known("pid.json")["shim_started"]) == set()


def test_what_stays_longer_than_its_time_is_ended_and_named(shims):
    directory = shims.start("bash", "-c", "sleep 600 & exit 4", linger=0.2)
    told = shims.ended(directory)
    assert (told["code"], told["why"], told["told"], told["left"]) == (4, "", 1, 0)
    assert "outlived the program" in (directory.path / "shim.log").read_text()


def test_a_filter_that_never_ends_is_ended(shims):
    """One that is at work has more time, but not all the time there is."""
    script = "exec > >(cat; while :; do echo x; done); echo y; exit 4"
    told = shims.ended(shims.start("bash", "-c", script, linger=0.02))
    assert (told["code"], told["left"], told["lingered"] > 1) == (4, 0, True)


def test_the_time_out_holds_for_what_lingers(shims):
    directory = shims.start("bash", "-c", "sleep 600 & exit 0", linger=600.0, timeout=0.5)
    assert shims.ended(directory)["code"] == 0


def test_each_log_has_a_cap_of_its_own_and_begins_with_whole_blocks(shims):
    script = "yes 1234567 | head -c 8000000; yes abcdefg | head -c 4000000 >&2; sleep 600"
    directory = shims.start("bash", "-c", script, log_cap=1_000_000)
    wait_until(lambda: directory.stderr.stat().st_size == 4_000_000)
    for log in (directory.stdout, directory.stderr):
        wait_until(lambda log=log: log.stat().st_blocks * 512 < 2_500_000)
        first = first_byte(log)
        assert first > 0
        (part,) = list(read_range(log, 0, first + 16))
        assert part[:4] in (b"1234", b"abcd")
    os.kill(directory.shim(), signal.SIGTERM)
    shims.ended(directory)


def test_standard_input_is_empty_on_a_terminal_too(shims):
    directory = shims.start("sh", "-c", "cat; test -t 1; echo $?", pty=True)
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_bytes() == b"0\r\n"


def test_a_script_without_an_interpreter_is_found_by_path(shims, tmp_path):
    script = tmp_path / "bin" / "script"
    script.parent.mkdir()
    script.write_text("echo $1\n")
    script.chmod(0o755)
    environment = {"PATH": f"/no/such:{script.parent}:{os.environ['PATH']}"}
    directory = shims.start("script", "a b", environment=environment)
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_text() == "a b\n"


def test_a_script_of_the_current_folder_is_no_option_of_sh(shims, tmp_path):
    """An empty part of PATH is that folder, and a name may begin with a dash."""
    script = tmp_path / "-x"
    script.write_text("echo done\n")
    script.chmod(0o755)
    environment = {"PATH": f":{os.environ['PATH']}"}
    directory = shims.start("-x", environment=environment, cwd=str(tmp_path))
    assert shims.ended(directory)["code"] == 0
    assert directory.stdout.read_text() == "done\n"


def test_nothing_of_the_starter_reaches_a_program(shims):
    """Neither descriptors, such as a lock, nor signals that it ignores or blocks."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003 - it takes no names
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
    try:
        script = "ls /proc/self/fd | wc -l; grep -E 'Sig(Ign|Blk)' /proc/self/status; sleep 600"
        directory = shims.start("sh", "-c", script)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2, signal.SIGTERM])
        signal.signal(signal.SIGUSR1, before)
        os.close(writer)
    wait_until(lambda: directory.stdout.read_text().count("\n") == 3)
    assert os.read(reader, 1) == b""  # the shim has it closed as well
    os.close(reader)
    count, *masks = directory.stdout.read_text().splitlines()
    assert int(count) == 4
    known = sum(1 << (number - 1) for number in signal.valid_signals())
    assert [int(mask.split()[1], 16) & known for mask in masks] == [0, 0]
    os.kill(directory.shim(), signal.SIGTERM)
    assert shims.ended(directory)["why"] == "cancelled"


def test_a_folder_that_is_removed_comes_back_with_the_exit_code_and_the_logs(shims):
    directory = shims.start("bash", "-c", "echo begun; read < go; echo end; exit 7")
    os.mkfifo(directory.path / "go")
    wait_until(lambda: directory.stdout.read_text() and directory.pid())
    shutil.rmtree(directory.path)
    assert directory.state() is State.HELD
    os.kill(process_below(shims.shims[directory]), signal.SIGKILL)
    assert shims.ended(directory)["signal"] == signal.SIGKILL
    assert directory.stdout.read_text() == "begun\n"
    assert directory.state() is State.ENDED


def process_below(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_many_deaf_programs_end_at_once(shims):
    """A shim looks at its own family, not at all that the host runs."""
    started = [
        shims.start("bash", "-c", "trap '' TERM; echo up; sleep 600 & sleep 600 & wait; wait")
        for _ in range(30)
    ]
    for directory in started:
        wait_until(directory.stdout.read_text)
        os.kill(directory.shim(), signal.SIGTERM)
    assert {shims.ended(directory)["left"] for directory in started} == {0}
    assert marked(shims.mark) == []
