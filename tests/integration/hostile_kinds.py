"""Programs that do what a supervisor least wants, each with what must be left of it in the end.

`$S` in a script sleeps for `$N` seconds, which are many, `E` tells an event on standard output and
`F` in the file of events; `$d` is the folder of the run.
"""

import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

EVENT = """echo '::dama:: {"type": "seen/one"}'"""
FILED = """echo '{"type": "seen/one"}' >> $DAMA_EVENTS"""
DAEMON = """python3 -c 'import os; os.fork() and os._exit(0)
os.setsid(); os.fork() and os._exit(0); os.execlp("sleep", "sleep", os.environ["N"])'"""


@dataclass(frozen=True)
class Kind:
    """What a program does, and how it must end; `out` is its whole output, where that matters."""

    script: str
    lines: int = 1
    code: int | None = 0
    signal: int | None = None
    events: int = 1
    warns: int = 0
    artifacts: int = 0
    why: str = ""
    out: bytes | None = None
    err: int | None = 0
    result: object = None
    left_out: str = ""
    settings: dict[str, object] = field(default_factory=dict)


def leaving(script: str, **expected: object) -> Kind:
    """Something outlives the main process, which has little time to end by itself; it is told."""
    return Kind(script, warns=1, settings={"linger": 0.3, "grace": 0.2}, **expected)


def working(filtering: str) -> Kind:
    """A filter takes longer for what the program wrote than what outlives it has."""
    script = f"exec > >({filtering}); seq 60; E"
    return Kind(script, 61, settings={"linger": 0.3, "grace": 0.2})


def unkept(script: str) -> Kind:
    """What it leaves as its result is none, which is told."""
    return Kind(script, warns=1, left_out="result")


def on_terminal(script: str, **expected: object) -> Kind:
    """With `pty`."""
    return Kind(script, settings={"pty": True, "linger": 0.3, "grace": 0.2}, **expected)


FILTERS = {
    "slow reader": Kind("seq 20000 | (sleep 0.3; cat); E", 20_001),
    "slow filter": Kind("exec > >(sleep 0.3; cat); seq 20000; E", 20_001),
    "chain": Kind("exec > >(cat | tac | tac); seq 5000; E", 5001),
    "to both": Kind("exec > >(tee >(cat >&2)); seq 3000; E", 3001, err=3001),
    "crossed": Kind("exec 3>&1 1>&2 2>&3; seq 5 >&2; seq 7; exec 1>&3; E", 6, err=7),
    "coprocess": Kind("coproc cat; exec 4<&${COPROC[0]} 5>&${COPROC[1]}; E >&5; head -1 <&4"),
    "pipe of its own": Kind("mkfifo p; (sleep 0.2; cat p) & exec > p; seq 3000; E", 3001),
    "late writer": Kind("(sleep 0.3; echo late) & E", 2),
    "late in a session": Kind("(setsid bash -c 'sleep 0.3; echo late' &) ; E", 2),
    "killed main": Kind("exec > >(sleep 0.2; cat); seq 9; E; kill -9 $$", 10, None, 9),
    "reader that leaves": Kind("yes | head -3; E; exit ${PIPESTATUS[0]}", 4),
    "tail of a log": Kind("seq 5 > log; tail -f log & E", 6, warns=1, settings={"linger": 3}),
    "slow line by line": working("while read -r l; do sleep 0.02; echo $l; done"),
    "slow to a file": working("while read -r l; do sleep 0.02; echo $l >> f; done; cat f"),
    "computing": working('l=$(cat); for ((i = 0; i < 400000; i++)); do :; done; echo "$l"'),
    "slow chain": working("while read -r l; do sleep 0.02; echo $l; done | (cat; sleep 0.1) | tac"),
}

LEAVERS = {
    "job": leaving("$S & E"),
    "nohup": leaving("nohup $S > /dev/null 2>&1 & E"),
    "session": leaving("(setsid $S &) ; E"),
    "closed session": leaving("setsid nohup $S <&- >&- 2>&- & E"),
    "double fork": leaving(f"{DAEMON}; E"),
    "orphans of orphans": leaving("( ( ($S &) & ) & ) ; E"),
    "a hundred": leaving("for i in $(seq 100); do $S & done; E"),
    "deaf": leaving("(trap '' TERM HUP INT QUIT; $S) & E"),
    "deaf loop": leaving("(trap '' TERM HUP INT QUIT USR1; while :; do $S; done) & E"),
    "reborn": leaving("(trap '($S) & ($S) &' TERM; $S & wait) & sleep 0.1; E"),
    "cleared": leaving("env -i $S & E"),
    "cleared session": leaving("env -i setsid $S & E"),
    "cleared parents": leaving('env -i setsid bash -c "setsid $S & setsid $S &" ; E'),
    "elsewhere": leaving("(cd /; exec env -i setsid $S) & E"),
    "renamed": leaving("cp $(command -v sleep) 'a) R 1 (b'; './a) R 1 (b' $N & E"),
    "stopped": leaving("$S & kill -STOP $!; E"),
    "stopped session": leaving("setsid bash -c 'kill -STOP $$; $S' & sleep 0.1; E"),
    "stopped tree": leaving("($S & $S & kill -STOP $! $BASHPID) & sleep 0.1; E"),
    "stops itself": Kind(
        "E; kill -STOP $$; $S",
        code=None,
        signal=signal.SIGTERM,
        why="timed out",
        settings={"timeout": 2, "grace": 5},
    ),
    "deaf to its timeout": Kind(
        "trap '' TERM; E; $S & $S",
        code=None,
        signal=signal.SIGKILL,
        why="timed out",
        settings={"timeout": 2, "grace": 0.2},
    ),
    "tidies up": Kind(
        "trap 'seq 5; exit 7' TERM; E; $S & wait",
        6,
        code=7,
        why="timed out",
        settings={"timeout": 2, "grace": 20},
    ),
}

OUTPUTS = {
    "silence": Kind("F", 0),
    "nothing is open": Kind("E; exec >&- 2>&- <&-; sleep 0.1; exit 4", code=4),
    "starts without": Kind("exec >&- 2>&- <&-; F; exit 5", 0, code=5),
    "zeros": Kind("printf 'a\\0b\\0\\n\\0'; echo; E", 3),
    "all zeros": Kind("head -c 300000 /dev/zero; echo; E", 2),
    "no end": Kind("""printf '::dama:: {"type": "seen/one"}'""", 0),
    "no end of a word": Kind("E; printf ::dam", out=b"::dam"),
    "no end of both": Kind("E; printf x; printf y >&2", out=b"x", err=None),
    "behind a word": Kind("printf word; E; E", 2),
    "empty lines": Kind("yes '' | head -50000; E", 50_001),
    "a long line": Kind("head -c 10000000 /dev/zero | tr '\\0' x; echo; E", 2),
    "a long event": Kind("printf '::dama:: '; head -c 9000000 /dev/zero; echo; E", 2, warns=1),
    "returns": Kind('for i in $(seq 500); do printf "$i%%\\r"; done; echo; E', 2),
    "windows": Kind("""printf '::dama:: {"type": "seen/one"}\\r\\n'"""),
    "bytes": Kind("head -c 200000 /dev/urandom | tr -d '\\n:'; echo; E", 2),
    "half a letter": Kind("printf '\\303'; sleep 0.1; printf '\\274\\n'; E", 2),
    "in parts": Kind("for p in ::da 'ma:: {\"typ' 'e\": \"seen/one\"'; do printf '%s' \"$p\";"
                     " sleep 0.05; done; echo '}'"),
    "not an event": Kind("for e in '{' '[1]' 7; do echo \"::dama:: $e\"; done; E", 4, warns=3),
    "too deep": Kind("echo \"::dama:: $(printf '[%.0s' $(seq 100000))\"; E", 2, warns=1),
    "of the controller": Kind("""echo '::dama:: {"type": ":FINAL"}'; E""", 2, warns=1),
    "a flood": Kind("for i in 1 2 3; do E; done; seq 300000; E", 300_004, events=4),
    "own descriptors": Kind("exec 1>&- 1>>$d/stdout 2>&1; E"),
    "out of order": Kind("exec 3>&1; exec 1>&2; exec 1>&-; E >&3; exit 9", code=9),
}  # fmt: skip

LIMITS = {
    "descriptors": Kind("echo $(cd /proc/$BASHPID/fd; echo [0-9]); E", 2, out=b"0 1 2 3"),
    "no more of them": Kind("python3 -c 'import os; print(os.listdir(\"/proc/self/fd\"))'; E", 2,
                            out=b"['0', '1', '2', '3']"),
    "standard input": Kind("cat; readlink /proc/self/fd/0; E", 2, out=b"/dev/null"),
    # The C library has two for itself (32 and 33), which no program can change.
    "signals": Kind(
        "for n in Blk Ign; do s=$(grep Sig$n /proc/self/status | cut -f2);"
        " echo $((0x$s & ~0x180000000)); done; E",
        3,
        out=b"0\n0",
    ),
    "size of files": Kind("F; ulimit -f 1; seq 99999; exit 6", 283, code=6, err=None),
    "open files": Kind("F; ulimit -n 3; echo x; exit 3", code=3),
    "memory": Kind("ulimit -v 90000; E; exit 2", code=2),
    "time": Kind("E; ulimit -St 1; while :; do :; done", code=None, signal=signal.SIGXCPU),
    "core": Kind("ulimit -c unlimited; E; kill -SEGV $$", code=None, signal=signal.SIGSEGV),
    "priority": Kind("renice 19 $$ > /dev/null; E"),
    "umask": Kind("umask 777; touch a; mkdir b; E"),
}  # fmt: skip

FOLDERS = {
    "root": Kind("cd /; E"),
    "no workdir": Kind("rm -rf $DAMA_WORKDIR; E"),
    "closed workdir": Kind("chmod 000 $DAMA_WORKDIR; E; sleep 0.1; chmod 700 $DAMA_WORKDIR"),
    "removed": Kind("rm -rf $d; E; exit 3", code=3),
    "removed with its parents": Kind("rm -rf $d/..; E; exit 3", code=3, err=None),
    "moved": Kind("mv $d $d.away; E; exit 3", code=3),
    "replaced": Kind("mv $d $d.away; touch $d; E; sleep 0.2; rm $d; exit 3", code=3),
    "closed": Kind("chmod 000 $d; E; exit 3", code=3),
    "unwritable": Kind("chmod 500 $d; E; exit 3", code=3),
    "no logs": Kind("rm $d/stdout $d/stderr; E; exit 3", code=3),
    "logs are folders": Kind("rm $d/std*; mkdir $d/stdout $d/stderr; E; exit 3", code=3),
    "own end": Kind("echo '{\"code\": 0}' > $d/exit.json; E; exit 3", code=3),
    "own pid": Kind("echo '{\"pid\": 1}' > $d/pid.json; E; exit 3", code=3),
    "other lock": Kind("rm $d/lock; touch $d/lock; E; exit 3", code=3),
}

# By its name only, since the whole path may be too long for a socket.
BIND = """(cd $d; python3 -c 'import os, socket, sys
socket.socket(socket.AF_UNIX).bind(os.path.basename(sys.argv[1]))' %s)"""
ODD = {
    "fifo": "mkfifo %s",
    "zero": "ln -s /dev/zero %s",
    "link": "ln -s nowhere %s",
    "folder": "mkdir %s",
    "socket": BIND,
}
NAMES = ("' '", "$'a\\nb'", "--", "-rf", "$'\\xff\\xfe'", "ü", "'a\"b'", "'*'", "$(printf %0255d)")

LEFT = {
    **{
        f"result is a {name}": unkept(f"{make % '$DAMA_RESULT'}; E")
        for name, make in ODD.items()
        if name != "link"
    },
    "result is a link to nothing": unkept("ln -s nowhere $DAMA_RESULT; E"),
    **{
        f"events is a {name}": Kind(
            f"rm $DAMA_EVENTS; {make % '$DAMA_EVENTS'}; sleep 0.3; E", warns=1
        )
        for name, make in ODD.items()
    },
    # It is regular by its mode, waits, and has nothing more after a while for who does not.
    "result of the kernel": unkept("ln -s /proc/kmsg $DAMA_RESULT; E"),
    "result": Kind("echo 7 > $DAMA_RESULT; E", result=7),
    "result without an end": Kind("printf 7 > $DAMA_RESULT; E", result=7),
    "result taken back": Kind("echo 7 > $DAMA_RESULT; : > $DAMA_RESULT; E"),
    "half a result": unkept("printf '{\"a\": ' > $DAMA_RESULT; E"),
    "two results": unkept("printf '1\\n2\\n' > $DAMA_RESULT; E"),
    "no number": unkept("echo NaN > $DAMA_RESULT; E"),
    "result of zeros": unkept("head -c 5 /dev/zero > $DAMA_RESULT; E"),
    "a large result": unkept("head -c 2000000 /dev/zero > $DAMA_RESULT; E"),
    "a hole": unkept("truncate -s 1T $DAMA_RESULT; E"),
    "events written over": Kind("F; sleep 0.3; : > $DAMA_EVENTS; F; sleep 0.3", 0, events=None),
    "events in a pile": Kind("for i in $(seq 300); do F; done", 0, events=300),
    "names": Kind(
        f'cd $DAMA_ARTIFACTS; for n in {" ".join(NAMES)}; do : > "./$n"; done; E',
        artifacts=len(NAMES),
    ),
    "no artifacts": Kind(
        "cd $DAMA_ARTIFACTS; mkfifo p; ln -s / l; ln -s nowhere n; mkdir -p d/e; : > d/e/f; E",
        artifacts=1,
    ),
    "artifacts are a file": Kind(
        "rmdir $DAMA_ARTIFACTS; : > $DAMA_ARTIFACTS; E", left_out="artifacts"
    ),
    "artifacts are gone": Kind("rmdir $DAMA_ARTIFACTS; E"),
}  # fmt: skip

TERMINALS = {
    "is one": on_terminal("tty <&2 | cut -c-9; E", lines=2, out=b"/dev/pts/"),
    "tee to itself": on_terminal("seq 5 | tee /dev/stdout | wc -l; E", lines=2, out=b"10"),
    "job on it": on_terminal("$S & E", warns=1),
    "session of its own": on_terminal("setsid $S & E", warns=1),
    "deaf to its hang-up": on_terminal("(trap '' HUP TERM; $S) & E", warns=1),
    "filter on it": on_terminal("exec > >(sleep 0.1; cat); seq 3000; E", lines=3001),
    "foreground of another": on_terminal("set -m; sleep 0.1; E; sleep 0.1"),
    "stopped by reading": on_terminal("(head -1 < /dev/tty) & sleep 0.2; E", warns=1),
    "raw": on_terminal("stty -F /dev/tty raw; E", lines=1),
    "its end": on_terminal("E; exec > /dev/null 2>&1 < /dev/null; sleep 0.2; exit 8", code=8),
}

HOSTILE = {**FILTERS, **LEAVERS, **OUTPUTS, **LIMITS, **FOLDERS, **LEFT, **TERMINALS}


def script_of(kind: Kind, seconds: str) -> str:
    """The script, whose sleeping processes can be found by their seconds."""
    known = f"export N={seconds} S='sleep {seconds}'; d=$(dirname $DAMA_EVENTS)"
    return f"{known}; E() {{ {EVENT}; }}; F() {{ {FILED}; }}\n{kind.script}"


def sleeping(seconds: str) -> list[int]:
    """The processes that are left, whatever they are called."""
    argument = b"\0%b\0" % seconds.encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "cmdline").read_bytes().endswith(argument):
                found.append(int(path.name))
    return found
