"""The embedded PostgreSQL: one server for one home, whoever asks and whatever was killed."""

import ctypes
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from dama.embedded import EmbeddedPostgres, log, server
from dama.embedded.account import choose_account
from dama.embedded.binaries import binaries_within, copy_installation, find_binaries
from dama.embedded.data import DataMaker
from dama.embedded.errors import (
    LostSocketError,
    NoBinariesError,
    SlowStartError,
    SocketPathError,
    StartError,
    UnwritableHomeError,
    VersionMismatchError,
)
from dama.embedded.programs import Programs
from tests.in_memory import folder_of_test

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PR_SET_CHILD_SUBREAPER = 36
REFUSING = str(Path(__file__).with_name("refusing_namespaces.py"))
IN_SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
CAN_MOUNT = not subprocess.run(
    [*IN_SMALL_DISK, "mount -t tmpfs none /mnt"], capture_output=True, check=False
).returncode
ROOT = os.getuid() == 0
START = "import pathlib, sys; from dama.embedded import EmbeddedPostgres as E; "


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data of a home as its first start makes them, which no server has had yet."""
    home = tmp_path_factory.mktemp("data")
    account = choose_account(home / "data")
    programs = Programs(account.readable(find_binaries(), home), account)
    DataMaker(home / "data", programs, account, home / "postgres.log").make(fsync=False)
    return home / "data"


@pytest.fixture
def tmp_path(tmp_path):
    """In memory: the data of a home are 1,300 files."""
    with folder_of_test(tmp_path) as folder:
        yield folder


@pytest.fixture
def new_home(tmp_path):
    """A server in a path with spaces that has never been started; stopped at the end."""
    server = EmbeddedPostgres(tmp_path / "a home")
    yield server
    server.stop()


@pytest.fixture
def postgres(new_home, data, tmp_path):
    """As new_home, with data in it: making them takes five times as long as all the rest."""
    (tmp_path / "a home").mkdir(0o700)
    subprocess.run(["cp", "-a", data, tmp_path / "a home"], check=True)
    return new_home


def ask(server, query):
    """One value."""
    with psycopg.connect(server.url) as connection:
        return connection.execute(query).fetchone()[0]


def kill(pid):
    """kill -9, and wait for the end of it."""
    watched = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([watched], [], [])
    os.close(watched)


def kill_everything(server):
    """The first process and all of its children."""
    pid = server.status().pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGSTOP)  # so that it cannot end them in order
    for child in children:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(int(child), signal.SIGKILL)
    kill(pid)


@contextmanager
def adopting_orphans():
    """What ends while nobody waits for it stays a zombie of this process."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def open_folder():
    """A folder that any user may enter; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="dama-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_it_starts_once_and_stops(new_home):
    """A second start finds it running."""
    assert not new_home.status().running

    url = new_home.start()
    pid = new_home.status().pid

    assert new_home.start() == url
    assert new_home.status().pid == pid
    assert new_home.stop()
    assert not new_home.stop()
    assert not new_home.status().running


def test_what_is_committed_is_on_disk_and_nobody_else_can_connect(postgres):
    """fsync is on; there is no network; the socket's folder is private."""
    postgres.start()

    assert ask(postgres, "SHOW fsync") == "on"
    assert ask(postgres, "SHOW listen_addresses") == ""
    folder = Path(ask(postgres, "SHOW unix_socket_directories"))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_server_of_tests_leaves_nothing_when_it_is_killed(server):
    """Nobody starts one again, which would clear away the memory that it shared."""
    assert ask(server, "SHOW fsync") == "off"
    maps = Path(f"/proc/{server.status().pid}/maps").read_text()
    assert "/dev/shm/PostgreSQL." not in maps  # noqa: S108 - where it would be


def test_eight_first_starts_at_once_give_one_server(new_home, tmp_path):
    """Real processes: a lock makes one of them do it."""
    code = f"{START}print(E(pathlib.Path(sys.argv[1])).start())"
    command = [sys.executable, "-c", code, str(tmp_path / "a home")]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    urls = {process.communicate()[0].strip() for process in processes}

    assert urls == {new_home.url}
    assert [process.returncode for process in processes] == [0] * 8
    assert new_home.status().running


def test_it_starts_again_after_everything_was_killed(postgres):
    """What was committed is there."""
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")

    kill_everything(postgres)

    assert not postgres.status().running
    postgres.start()
    assert ask(postgres, "SELECT n FROM kept") == 7


def test_it_waits_for_the_last_processes_of_a_killed_server(postgres):
    """They still use the data; the kernel tells when they have ended, not a pid file."""
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")

    kill(postgres.status().pid)
    postgres.start()

    assert ask(postgres, "SELECT n FROM kept") == 7


def test_a_dead_server_that_nobody_has_waited_for_counts_as_dead(postgres):
    """Its pid answers to signals as if it lived."""
    with adopting_orphans():
        postgres.start()
        pid = postgres.status().pid
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        assert not postgres.status().running
        postgres.start()

        assert postgres.status().pid != pid
    os.waitpid(pid, 0)


def test_a_server_that_is_not_ready_yet_is_left_in_peace(postgres, monkeypatch):
    """A long recovery, say, whose starter was killed; its pid file must not be taken from it."""
    postgres.start()
    pid = postgres.status().pid
    pid_file = Path(postgres.status().data) / "postmaster.pid"
    told = pid_file.read_text()
    pid_file.write_text(told.replace("ready   ", "starting"))
    monkeypatch.setattr(server, "START_SECONDS", 0.0)

    with pytest.raises(SlowStartError, match="not ready") as caught:
        postgres.start()

    assert caught.value.retryable
    assert pid_file.read_text().startswith(f"{pid}\n")
    pid_file.write_text(told)
    assert postgres.start()
    assert postgres.status().pid == pid


def test_a_half_made_folder_of_data_is_made_anew(new_home, tmp_path):
    """Whoever made it was killed."""
    (tmp_path / "a home" / "data.new").mkdir(parents=True)
    (tmp_path / "a home" / "data.new" / "PG_VERSION").write_text("18\n")

    new_home.start()

    assert ask(new_home, "SELECT 7") == 7
    assert not (tmp_path / "a home" / "data.new").exists()


def test_a_home_reached_by_another_path_is_the_same_home(postgres, tmp_path):
    """A link must not give a second server on the same data."""
    postgres.start()
    (tmp_path / "link").symlink_to(tmp_path / "a home")

    other = EmbeddedPostgres(tmp_path / "link")
    other.start()

    assert other.status().pid == postgres.status().pid


def test_the_pipes_of_a_shell_do_not_wait_for_the_server(new_home, tmp_path):
    """`dama run | head` must end when dama does, whatever descriptors it was given."""
    read, write = os.pipe()
    code = f"{START}E(pathlib.Path(sys.argv[1])).start()"

    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a home")], pass_fds=[write], check=True
    )
    os.close(write)

    assert os.read(read, 1) == b""
    assert new_home.status().running
    os.close(read)


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


def test_the_server_tells_where_its_socket_is(tmp_path, monkeypatch):
    """A later command may have another XDG_RUNTIME_DIR, or none, as under cron."""
    runtime = tempfile.mkdtemp()
    postgres = EmbeddedPostgres(tmp_path / ("long" * 30))
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    postgres.start()
    monkeypatch.delenv("XDG_RUNTIME_DIR")

    try:
        assert runtime in ask(postgres, "SHOW unix_socket_directories")
    finally:
        postgres.stop()
        shutil.rmtree(runtime)


def removed_socket(home):
    """The file alone."""
    (home / "socket" / ".s.PGSQL.5432").unlink()


def removed_socket_folder(home):
    """With the lock file in it."""
    shutil.rmtree(home / "socket")


def removed_second_name(home):
    """That by which the first would be made again."""
    (home / "data" / "server.socket").unlink()


def removed_locks(home):
    """What says who starts it."""
    (home / "lock").unlink(missing_ok=True)


def removed_all_but_the_data(home):
    """A folder that is being cleaned."""
    for path in home.iterdir():
        if path.is_dir() and path.name != "data":
            shutil.rmtree(path)
        elif path.name != "data":
            path.unlink()


@pytest.mark.parametrize(
    "remove",
    [
        removed_socket,
        removed_socket_folder,
        removed_second_name,
        removed_locks,
        removed_all_but_the_data,
    ],
)
def test_a_living_server_goes_on_when_its_files_are_cleared_away(postgres, tmp_path, remove):
    """It is not ended for a new socket: the connections that there are stay."""
    postgres.start()
    pid = postgres.status().pid
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for _ in range(3):
            remove(tmp_path / "a home")
            postgres.start()

        assert connection.execute("SELECT 7").fetchone() == (7,)
    assert ask(postgres, "SELECT 7") == 7
    assert postgres.status().pid == pid


def test_a_server_whose_programs_were_removed_is_started_again(tmp_path):
    """As with a virtual environment: it takes connections, but can load no language."""
    copy_installation(find_binaries(), tmp_path / "removed")
    tmp_path.chmod(0o755)
    binaries = tmp_path / "removed" / binaries_within(find_binaries())
    first = EmbeddedPostgres(tmp_path / "home", fsync=False, binaries=binaries)
    second = EmbeddedPostgres(tmp_path / "home", fsync=False)
    try:
        with psycopg.connect(first.start()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = first.status().pid
        assert second.start() == first.url
        assert second.status().pid == pid  # whoever else needs it, while its programs are there
        shutil.rmtree(tmp_path / "removed")
        for copy in (tmp_path / "home").glob("binaries-*"):  # for an account that cannot read it
            shutil.rmtree(copy)
        with psycopg.connect(second.start()) as connection:
            connection.execute("DO $$ BEGIN PERFORM n FROM kept; END $$")
        assert second.status().pid != pid
        assert "its programs were removed" in Path(second.status().log).read_text()
    finally:
        second.stop()


@pytest.mark.skipif(not ROOT, reason="only root runs the server as somebody else")
def test_a_living_server_gets_its_copy_of_the_programs_back(tmp_path):
    """Of an installation that its account cannot read; the connections that there are stay."""
    copy_installation(find_binaries(), tmp_path / "closed")
    (tmp_path / "closed").chmod(0o700)
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    binaries = tmp_path / "closed" / binaries_within(find_binaries())
    postgres = EmbeddedPostgres(home, fsync=False, binaries=binaries)
    try:
        with psycopg.connect(postgres.start()) as before:
            (copy,) = home.glob("binaries-*")
            shutil.rmtree(copy)
            with psycopg.connect(postgres.start()) as connection:
                connection.execute("DO $$ BEGIN NULL; END $$")
            assert before.execute("SELECT 7").fetchone() == (7,)
    finally:
        postgres.stop()


def test_a_living_server_without_any_name_of_its_socket_is_left_alone(postgres, tmp_path):
    """Those who are connected need it; a person decides."""
    postgres.start()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        removed_second_name(tmp_path / "a home")
        removed_socket_folder(tmp_path / "a home")

        with pytest.raises(LostSocketError, match="socket was removed") as caught:
            postgres.start()

        assert "dama db stop" in caught.value.hint
        assert connection.execute("SELECT 7").fetchone() == (7,)
    assert postgres.stop()
    postgres.start()
    assert ask(postgres, "SELECT 7") == 7


def test_a_link_to_a_home_with_a_long_path_is_made_again(tmp_path):
    """It is below the folder of temporary files, which is cleaned."""
    server = EmbeddedPostgres(tmp_path / ("long" * 30))
    try:
        server.start()
        pid = server.status().pid
        link = Path(ask(server, "SHOW unix_socket_directories"))
        assert link.is_symlink()
        link.unlink()

        server.start()

        assert ask(server, "SELECT 7") == 7
        assert server.status().pid == pid
    finally:
        server.stop()


def test_who_stops_a_server_is_in_its_log(postgres):
    """Pid and command; not the arguments, which may hold a secret."""
    postgres.start()

    postgres.stop()

    log = Path(postgres.status().log).read_text()
    assert re.search(rf"DAMA:  it was asked to stop by pid {os.getpid()} \(", log)
    assert log.index("asked to stop") < log.index("received fast shutdown")


ASK = f"""{START}
import psycopg
server = E(pathlib.Path(sys.argv[1]))
with psycopg.connect(server.start()) as connection:
    print(connection.execute("SELECT 7").fetchone()[0], server.status().pid)
"""
# Twenty processes that do so, forked by one that has imported all: they come within milliseconds,
# and their number is what the test is about, not their imports.
STORM = """
import os, pathlib, signal, sys
import psycopg, psycopg.types.json
from dama.embedded import EmbeddedPostgres as E

def ask():
    server = E(pathlib.Path(sys.argv[1]))
    with psycopg.connect(server.start()) as connection:
        seven = connection.execute("SELECT 7").fetchone()[0]
        os.write(1, f"{seven} {server.status().pid}\\n".encode())

pids = []
for _ in range(20):
    pids.append(os.fork())
    if pids[-1] == 0:
        try:
            ask()
        finally:
            os._exit(0)
    if len(pids) == 10:
        os.write(1, b"half\\n")
for pid in pids[::4]:
    os.kill(pid, signal.SIGKILL)
for pid in pids:
    os.waitpid(pid, 0)
"""


@pytest.mark.timeout(120)
def test_a_storm_of_commands_while_files_vanish_meets_one_server(postgres, tmp_path):
    """Twenty commands at once, some killed, while socket, folder and lock are removed."""
    home = tmp_path / "a home"
    postgres.start()
    pid = postgres.status().pid
    command = [sys.executable, "-c", STORM, str(home)]
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for remove in (removed_socket, removed_socket_folder, removed_locks):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as storm:
                answers = []
                for line in storm.stdout:
                    if line == "half\n":
                        remove(home)
                    else:
                        answers.append(line.strip())
            assert set(answers) == {f"7 {pid}"}
            postgres.start()
        assert connection.execute("SELECT 7").fetchone() == (7,)
    log = Path(postgres.status().log).read_text()
    assert "shutdown" not in log
    assert log.count("it was started") == 1


IN_ANOTHER_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
if not ROOT:
    IN_ANOTHER_NAMESPACE[1:1] = ["--user", "--map-root-user"]
CAN_UNSHARE = not subprocess.run(
    [*IN_ANOTHER_NAMESPACE, "true"], capture_output=True, check=False
).returncode


@pytest.mark.skipif(not CAN_UNSHARE, reason="this machine gives no PID namespace")
def test_a_server_in_another_pid_namespace_is_used_and_left_alone(postgres, tmp_path):
    """Two containers over one folder: a pid that is not to be seen is not dead."""
    postgres.start()
    pid = postgres.status().pid
    home = tmp_path / "a home"
    stop = f"{START}E(pathlib.Path(sys.argv[1])).stop()"

    for remove in (lambda _: None, removed_socket, removed_socket_folder, removed_locks):
        remove(home)
        asked = subprocess.run(
            [*IN_ANOTHER_NAMESPACE, sys.executable, "-c", ASK, str(home)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert asked.stdout.split() == ["7", str(pid)], asked.stderr
    stopped = subprocess.run(
        [*IN_ANOTHER_NAMESPACE, sys.executable, "-c", stop, str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "another PID namespace" in stopped.stderr
    assert ask(postgres, "SELECT 7") == 7
    assert postgres.status().pid == pid
    assert "shutdown" not in Path(postgres.status().log).read_text()


def test_the_server_has_nothing_of_the_program_that_started_it(postgres, monkeypatch):
    """Neither its variables, which would mark it as part of the program, nor its low limits."""
    monkeypatch.setenv("DAMA_EVENTS", "/nowhere")
    monkeypatch.setenv("API_TOKEN", "hunter2")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = sum(1 for _ in Path("/proc/self/fd").iterdir())  # with what other tests left open
    low = here + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        postgres.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    pid = postgres.status().pid
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"DAMA_" not in environment
    assert b"hunter2" not in environment
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_socket_folder_that_is_not_ours_is_refused(open_folder):
    """Else somebody could stand between."""
    (open_folder / "socket").symlink_to(open_folder)

    with pytest.raises(SocketPathError, match="belongs to another user"):
        EmbeddedPostgres(open_folder).start()


def test_libpqs_environment_does_not_lead_astray(postgres, monkeypatch):
    """PGPORT alone names no other database."""
    monkeypatch.setenv("PGPORT", "5433")
    monkeypatch.setenv("PGDATA", "/nowhere")

    postgres.start()

    assert ask(postgres, "SELECT 7") == 7


@pytest.mark.parametrize("name", ["it's", 'a "home"', "co,mma", "per%cent", "Übung"])
def test_a_home_may_have_any_name(tmp_path, name):
    """libpq splits hosts at commas, PostgreSQL its list of folders."""
    postgres = EmbeddedPostgres(tmp_path / name, fsync=False)
    try:
        postgres.start()

        assert ask(postgres, "SELECT 7") == 7
    finally:
        postgres.stop()


def test_a_relative_home_is_one_of_the_current_folder(tmp_path, monkeypatch):
    """The server's own folder is another."""
    monkeypatch.chdir(tmp_path)
    postgres = EmbeddedPostgres(Path("home"), fsync=False)
    try:
        postgres.start()

        assert postgres.status().data == str(tmp_path / "home" / "data")
    finally:
        postgres.stop()


def test_a_large_log_is_kept_once_and_begun_anew(postgres, monkeypatch):
    """The server runs on and writes into the same file."""
    postgres.start()
    monkeypatch.setattr(log, "LIMIT", 0)

    postgres.start()
    with pytest.raises(psycopg.Error):
        ask(postgres, "SELECT 1 / 0")

    path = Path(postgres.status().log)
    assert "ready to accept" in path.with_name("postgres.log.1").read_text()
    assert "division by zero" in path.read_text()
    assert "\0" not in path.read_text()


@pytest.mark.skipif(not CAN_MOUNT, reason="this machine lets nobody mount a small disk")
def test_a_full_disk_is_said_in_one_sentence(tmp_path):
    """And the half-made data do not stay on it."""
    code = f"""
{START}
from dama.embedded.errors import DiskFullError
home = pathlib.Path(sys.argv[1])
try:
    E(home).start()
except DiskFullError as error:
    print(error, error.hint, sorted(path.name for path in home.iterdir()))
"""
    shell = 'mount -t tmpfs -o size=10m none "$1" && exec "$2" -c "$3" "$1"'

    done = subprocess.run(
        [*IN_SMALL_DISK, shell, "sh", str(tmp_path), sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "is full" in done.stdout, done.stderr
    assert "data" not in done.stdout.partition("[")[2]


@pytest.mark.skipif(not ROOT, reason="only root may become somebody else")
class TestRootWithoutUserNamespaces:
    """As in many containers: the server runs under another account, which others may use too."""

    def start(self, home, binaries=""):
        """In a process to which the kernel refuses `unshare`."""
        return subprocess.run(
            [sys.executable, REFUSING, str(home), str(binaries)],
            capture_output=True,
            text=True,
            check=False,
        )

    def test_it_runs_under_another_account_and_asks_for_a_password(self, open_folder):
        """The URL names a file with it, so that the password is in no list of processes."""
        postgres = EmbeddedPostgres(open_folder / "home")
        done = self.start(open_folder / "home")

        try:
            assert done.stdout.strip() == postgres.url, done.stderr
            assert Path(f"/proc/{postgres.status().pid}").stat().st_uid != 0
            assert ask(postgres, "SELECT 7") == 7
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(postgres.url.partition("&passfile")[0])
        finally:
            postgres.stop()

    def test_data_that_root_made_with_namespaces_go_on(self, open_folder):
        """A home moved into a container."""
        postgres = EmbeddedPostgres(open_folder / "home")
        postgres.start()
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        postgres.stop()

        done = self.start(open_folder / "home")

        try:
            assert done.returncode == 0, done.stderr
            assert ask(postgres, "SELECT n FROM kept") == 7
        finally:
            postgres.stop()

    def test_binaries_that_the_account_can_not_read_are_copied(self, open_folder, tmp_path):
        """An environment below /root, say."""
        postgres = EmbeddedPostgres(open_folder / "home")
        copy_installation(postgres.binaries, tmp_path)
        tmp_path.chmod(0o700)

        done = self.start(
            open_folder / "home", binaries=tmp_path / binaries_within(postgres.binaries)
        )

        try:
            assert done.returncode == 0, done.stderr
            assert ask(postgres, "SELECT 7") == 7
        finally:
            postgres.stop()

    def test_a_home_below_a_closed_folder_is_refused_and_the_folder_stays_closed(self, tmp_path):
        """Opening it would be for root's other files as well."""
        tmp_path.chmod(0o700)

        done = self.start(tmp_path / "home")

        assert "is closed for uid" in done.stderr
        assert "DAMA_HOME" in done.stderr
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_home_that_can_not_be_written_is_said_in_one_sentence(tmp_path):
    """With the remedy."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UnwritableHomeError, match="cannot be written") as caught:
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
