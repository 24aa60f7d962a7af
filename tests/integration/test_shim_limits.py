"""Shims under limits of the host, behind a /proc that hides, and with a folder that is moved."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.programs import Shims, wait_until

# A process with limits of its own, which starts one program under a shim and tells how it ended.
STARTER = """
import json, os, resource, sys, time
from pathlib import Path
from dama.programs.launch import Launch, spawn
from dama.programs.run_directory import RunDirectories
folder, prepare, after, pty, script = sys.argv[1:]
exec(prepare)
directory = RunDirectories(Path(folder)).of(1, 1)
directory.make()
lock = directory.lock()
launch = Launch(["bash", "-c", script], {"PATH": os.environ["PATH"]}, folder,
                pty=pty == "pty", grace=0.3, linger=1.0)
shim = spawn(directory, launch, lock)
os.close(lock)
exec(after)
_, how = os.waitpid(shim, 0)
print(json.dumps({
    "how": how, "exit": directory.exit(), "log": (directory.path / "shim.log").read_text(),
    "stdout": directory.stdout.read_text(), "bytes": directory.stdout.stat().st_size,
}))
"""
ROOT = Path(__file__).parents[2]
CAPABILITIES = "+dac_override,+dac_read_search"
# Another user without a process of its own, who may read and write all the same.
AS_SOMEBODY = [
    *("setpriv", "--reuid", str(100_000 + os.getpid()), "--clear-groups"),
    *("--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES),
]


@pytest.fixture
def shims(tmp_path):
    """Shims, and nothing left of them."""
    shims = Shims(tmp_path / "runs")
    yield shims
    shims.close()


def told_by(folder, script, *, prepare="", after="", pty="", prefix=()):
    """Start a program in a process that prepares itself; how it ended."""
    run = subprocess.run(
        [*prefix, sys.executable, "-c", STARTER, str(folder), prepare, after, pty, script],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def needs(*command):
    """Skip where this user may not do something."""
    if shutil.which(command[0]) is None or subprocess.run(command, check=False).returncode:
        pytest.skip(f"NOT TESTED: {command[0]} is refused to this user")


# Root has no rights here but those of the owner, as everybody else.
AS_OWNER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.parametrize("mode", ["000", "500", "300"])
def test_a_folder_that_its_program_closed_has_the_end(tmp_path, mode):
    """Else nobody would learn how it ended until somebody opens it again."""
    if os.geteuid() == 0:
        needs(*AS_OWNER, "true")
    script = f"echo a; chmod {mode} $PWD/1/1; echo b; exit 3"
    prefix = AS_OWNER if os.geteuid() == 0 else ()
    told = told_by(tmp_path, script, prefix=prefix)
    assert (told["exit"]["code"], told["stdout"]) == (3, "a\nb\n")


@pytest.mark.parametrize(
    ("script", "code", "pty"),
    [
        ("trap '' XFSZ; seq 30000; exit 5", 5, ""),
        ("trap '' XFSZ; seq 30000 >&2; echo x; exit 6", 6, "pty"),
        ("exec > >(cat); trap '' XFSZ PIPE; seq 30000; exit 7", 7, "pty"),
    ],
)
def test_a_limit_of_the_size_of_files_ends_no_shim(tmp_path, script, code, pty):
    """By `ulimit -f` the kernel sends a signal to who writes beyond it."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    told = told_by(tmp_path, script, prepare=limit, pty=pty)
    assert told["exit"]["code"] == code, told
    if pty:
        assert "File too large" in told["log"]
        assert told["bytes"] == 100_000


@pytest.mark.parametrize("number", [300, 4000])
def test_a_descriptor_beyond_the_limit_of_the_starter_reaches_nobody(tmp_path, number):
    """It was opened before the limit was lowered; a lock of it would be held by the shim."""
    prepare = f"""
resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))
os.dup2(os.open("/etc/passwd", os.O_RDONLY), {number}, inheritable=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))"""
    told = told_by(tmp_path, "ls -l /proc/self/fd /proc/$PPID/fd", prepare=prepare)
    assert "stdout" in told["stdout"]
    assert "passwd" not in told["stdout"]


@pytest.mark.parametrize("pty", ["", "pty"])
def test_a_program_starts_when_there_is_room_for_its_process(tmp_path, pty):
    """A limit of processes (`ulimit -u`, a cgroup) that is reached says nothing of the program."""
    needs(*AS_SOMEBODY, "true")
    tmp_path.chmod(0o777)
    told = told_by(
        tmp_path / "runs",
        "echo up; exit 4",
        prepare="resource.setrlimit(resource.RLIMIT_NPROC, (2, 50))",
        after="""
log = directory.path / "shim.log"
while "cannot be started for now" not in log.read_text():
    time.sleep(0.01)
resource.prlimit(shim, resource.RLIMIT_NPROC, (50, 50))""",
        pty=pty,
        prefix=AS_SOMEBODY,
    )
    assert (told["exit"]["code"], told["stdout"].split()) == (4, ["up"])


def test_a_program_that_finds_no_room_can_be_cancelled(tmp_path):
    needs(*AS_SOMEBODY, "true")
    tmp_path.chmod(0o777)
    told = told_by(
        tmp_path / "runs",
        "echo up",
        prepare="resource.setrlimit(resource.RLIMIT_NPROC, (2, 50))",
        after="""
log = directory.path / "shim.log"
while "cannot be started for now" not in log.read_text():
    time.sleep(0.01)
os.kill(shim, 15)""",
        prefix=AS_SOMEBODY,
    )
    assert (told["exit"]["why"], told["exit"]["code"], told["stdout"]) == ("cancelled", None, "")


HIDDEN = """
import ctypes, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # as what holds a secret does: nobody else reads its memory
print("up", flush=True)
time.sleep(614)
"""


@pytest.mark.parametrize("wrapper", ["setsid -w ", "exec "])
def test_what_proc_hides_is_ended(tmp_path, wrapper):
    """Mounted with hidepid=2, /proc has not even the number of such a process."""
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    hidden = ["unshare", "-m", "bash", "-c", mount, "bash"]
    needs(*hidden, *AS_SOMEBODY, "true")
    tmp_path.chmod(0o777)
    told = told_by(
        tmp_path / "runs",
        f"{wrapper}python3 -c '{HIDDEN}'",
        after="""
while not directory.stdout.read_text():
    time.sleep(0.01)
os.kill(shim, 15)""",
        prefix=[*hidden, *AS_SOMEBODY],
    )
    assert told["exit"]["why"] == "cancelled"
    assert told["exit"]["left"] == 0, told
    assert told["exit"]["killed"] >= 1


@pytest.mark.parametrize("pty", [False, True], ids=["files", "pty"])
@pytest.mark.parametrize(
    ("block", "free"),
    [
        ("mv $d $d.away; touch $d", "rm {}"),
        ("mv $d $d.away; ln -s nowhere $d", "rm {}"),
        ("mv $d $d.away; ln -s $d $d", "rm {}"),
        ("p=$(dirname $d); mv $p $p.away; touch $p", "rm {}/.."),
    ],
)
def test_something_in_the_place_of_the_folder_is_waited_out(shims, block, free, pty):
    """The exit code and the lines are there when it has gone."""
    directory = shims.start("bash", "-c", f"d=$PWD; echo a; {block}; echo z; exit 3", pty=pty)
    shim = shims.shims[directory]
    wait_until(lambda: not has_children(shim) and os.path.lexists(directory.path.parent))
    path = directory.path.parent if free.endswith("..") else directory.path
    wait_until(lambda: os.path.lexists(path) and not is_real(path))
    time.sleep(0.1)  # it may look meanwhile
    assert os.waitpid(shim, os.WNOHANG) == (0, 0)
    path.unlink()
    assert shims.ended(directory)["code"] == 3
    assert directory.stdout.read_text().split() == ["a", "z"]


def has_children(pid):
    """Whether a process has any."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def is_real(path):
    """Whether it is a folder itself."""
    return path.is_dir() and not path.is_symlink()


# Moves the folder when the shim is about to do something at its end.
MOVER = """
import json, os, sys
from dama.programs.shim import files, supervisor
folder, moment = sys.argv[1:]
os.chdir(folder)
def away(*_):
    global away
    away = lambda *_: None
    os.rename(folder, folder + ".away")
    if moment.endswith("replaced"):
        os.mkdir(folder)
def before(name, when):
    real = getattr(os, name)
    def call(*arguments, **options):
        if when(*arguments):
            away()
        return real(*arguments, **options)
    setattr(os, name, call)
is_exit = lambda path, *_: str(path).startswith("exit.json")
if moment.startswith("open"):
    real = files.private
    files.private = lambda path, flags: (is_exit(path) and away(), real(path, flags))[1]
elif moment.startswith("rename"):
    before("rename", is_exit)
else:
    real = os.rename
    def rename(*paths):
        real(*paths)
        if is_exit(*paths):
            os.rename = real
            away()
    os.rename = rename
spec = {"argv": ["bash", "-c", "echo a; exit 3"], "cwd": "/", "epoch": 1, "grace": 1,
        "log_cap": 1 << 30}
json.dump(spec, open("spec.json", "w"))
supervisor.own_run(lambda spec: supervisor.Shim(spec, dict(os.environ)))
"""


@pytest.mark.parametrize("how", ["moved", "replaced"])
@pytest.mark.parametrize("moment", ["open", "rename", "behind"])
def test_a_folder_that_is_moved_in_the_last_moment_has_the_end_in_its_place(tmp_path, moment, how):
    """Between the question whether it is there and the name that the report gets."""
    folder = tmp_path / "run"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", MOVER, str(folder), f"{moment} {how}"], cwd=ROOT, check=True
    )
    assert json.loads((folder / "exit.json").read_text())["code"] == 3
    assert (folder / "stdout").read_text() == "a\n"
