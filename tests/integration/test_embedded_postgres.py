"""The embedded PostgreSQL: one server for one home, whoever asks and whatever was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from dama.store.embedded import EmbeddedPostgres
from dama.store.embedded.errors import (
    NoBinariesError,
    StartError,
    UnwritableHomeError,
    VersionMismatchError,
)

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
START = "import pathlib, sys; from dama.store.embedded import EmbeddedPostgres as E; "


@pytest.fixture
def postgres(tmp_path):
    """A server in a path with spaces, stopped at the end."""
    server = EmbeddedPostgres(tmp_path / "a home")
    yield server
    server.stop()


def ask(server, query):
    """One value."""
    with psycopg.connect(server.url) as connection:
        return connection.execute(query).fetchone()[0]


def ask_for_ever(connection):
    """Until the server is gone."""
    while True:
        connection.execute("SELECT 1")


def test_it_starts_once_and_stops(postgres):
    """A second start finds it running."""
    assert not postgres.status().running

    url = postgres.start()
    pid = postgres.status().pid

    assert postgres.start() == url
    assert postgres.status().pid == pid
    assert postgres.stop()
    assert not postgres.stop()
    assert not postgres.status().running


def test_what_is_committed_is_on_disk_and_nobody_else_can_connect(postgres):
    """fsync is on; there is no network; the socket's folder is private."""
    postgres.start()

    assert ask(postgres, "SHOW fsync") == "on"
    assert ask(postgres, "SHOW listen_addresses") == ""
    folder = Path(ask(postgres, "SHOW unix_socket_directories"))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_eight_first_starts_at_once_give_one_server(postgres, tmp_path):
    """Real processes: a lock makes one of them do it."""
    code = f"{START}print(E(pathlib.Path(sys.argv[1])).start())"
    command = [sys.executable, "-c", code, str(tmp_path / "a home")]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    urls = {process.communicate()[0].strip() for process in processes}

    assert urls == {postgres.url}
    assert [process.returncode for process in processes] == [0] * 8
    assert postgres.status().running


def test_it_starts_again_after_everything_was_killed(postgres):
    """What was committed is there."""
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    with psycopg.connect(postgres.url) as connection:
        pid = postgres.status().pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(psycopg.Error):
            ask_for_ever(connection)
    os.waitpid(pid, 0)

    postgres.start()

    assert ask(postgres, "SELECT n FROM kept") == 7


def test_a_pid_file_with_the_pid_of_another_program_is_not_believed(postgres):
    """Pids are used again."""
    postgres.start()
    pid_file = Path(postgres.status().data) / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    postgres.stop()
    with subprocess.Popen(["sleep", "100"]) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

        assert not postgres.status().running
        postgres.start()

        assert postgres.status().running
        assert stranger.poll() is None
        stranger.kill()


def test_a_home_whose_path_is_too_long_for_a_socket_works(tmp_path):
    """The socket goes into a short folder elsewhere."""
    server = EmbeddedPostgres(tmp_path / ("long" * 30))
    try:
        server.start()

        assert ask(server, "SELECT 7") == 7
    finally:
        server.stop()


def test_a_home_that_can_not_be_written_is_said_in_one_sentence(tmp_path):
    """With the remedy."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UnwritableHomeError, match="can not be written") as caught:
        EmbeddedPostgres(tmp_path / "file" / "home").start()

    assert "DAMA_HOME" in caught.value.hint


def test_data_of_another_version_are_left_alone(postgres):
    """And the message says how to come over."""
    postgres.start()
    postgres.stop()
    (Path(postgres.status().data) / "PG_VERSION").write_text("11\n")

    with pytest.raises(VersionMismatchError, match="PostgreSQL 11") as caught:
        postgres.start()

    assert "pg_upgrade" in caught.value.hint


def test_a_server_that_does_not_start_shows_the_end_of_its_log(postgres):
    """Where the reason is."""
    postgres.start()
    postgres.stop()
    configuration = Path(postgres.status().data) / "postgresql.conf"
    configuration.write_text("no_such_setting = 1\n")

    with pytest.raises(StartError, match="no_such_setting"):
        postgres.start()


def test_no_server_on_the_machine_is_said(tmp_path, monkeypatch):
    """With the places that were looked at."""
    monkeypatch.setenv("DAMA_POSTGRES_BIN", str(tmp_path))

    with pytest.raises(NoBinariesError, match=str(tmp_path)):
        EmbeddedPostgres(tmp_path / "home").start()


@pytest.mark.skipif(not DEBIAN, reason="this machine has no other PostgreSQL")
def test_a_server_of_the_machine_serves_as_well(tmp_path):
    """Where the wheel does not fit."""
    server = EmbeddedPostgres(tmp_path / "home", binaries=DEBIAN[-1].parent)
    try:
        server.start()

        assert str(ask(server, "SHOW server_version")).startswith(DEBIAN[-1].parent.parent.name)
    finally:
        server.stop()


NOT_EVEN_ONE = 77
WITHOUT_NAMESPACES = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000):
        os._exit(77)
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os.setgid(0), os.setuid(0)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execv(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{child}/{name}", "w").write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
OTHER_ACCOUNT = f"""{START}
import psycopg
server = E(pathlib.Path(sys.argv[1]))
with psycopg.connect(server.start()) as connection:
    print(connection.execute("SELECT 7").fetchone()[0])
print(pathlib.Path(server.status().data).owner())
server.stop()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root needs another account")
def test_root_without_namespaces_runs_it_as_another_account():
    """Some containers refuse them; connections then need a password."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                WITHOUT_NAMESPACES,
                sys.executable,
                "-c",
                OTHER_ACCOUNT,
                f"{folder}/home",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    if done.returncode == NOT_EVEN_ONE:
        pytest.skip("this machine refuses the namespace that the test needs")
    assert done.stdout.split() == ["7", "postgres"] or done.stdout.split() == ["7", "nobody"]
