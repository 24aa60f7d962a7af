"""Programs of many kinds, each with what must be left of it in the end."""

from dataclasses import dataclass

EVENT = """echo '::dama:: {"type": "seen/one"}'"""


@dataclass(frozen=True)
class Kind:
    """What a program does, and how it must end."""

    script: str
    lines: int = 1
    code: int = 0
    pty: bool = False


KINDS = {
    "plain": Kind(EVENT),
    "failing": Kind(f"{EVENT}; exit 3", code=3),
    "sed": Kind(f"exec > >(sed s/z/b/); seq 2000; {EVENT}", 2001),
    "tee": Kind(f"exec > >(tee copy); seq 2000; {EVENT}", 2001),
    "slow_filter": Kind(f"exec > >(sleep 0.5; cat); seq 500; {EVENT}", 501),
    "loop": Kind(f"exec > >(while read -r l; do echo $l; done); seq 500; {EVENT}", 501),
    "big": Kind(f"seq 200000; {EVENT}", 200_001),
    "pty": Kind(f"seq 500; {EVENT}", 501, pty=True),
    "pty_big": Kind(f"seq 20000; {EVENT}", 20_001, pty=True),
    "daemon": Kind(f"setsid sleep 600 & {EVENT}"),
    "double": Kind(f"(setsid sleep 600 &) ; {EVENT}"),
    "forks": Kind(f"for i in $(seq 20); do (echo $i) & done; wait; {EVENT}", 21),
    "deaf": Kind(f"trap '' TERM; sleep 600 & {EVENT}"),
    "deaf_child": Kind(f"(trap '' TERM; sleep 600) & {EVENT}"),
    "cleared": Kind(f"env -i sleep 600 & {EVENT}"),
    "hidden": Kind(f"env -i setsid sleep 600 & {EVENT}"),
    "stopped": Kind(f"sleep 600 & kill -STOP $!; {EVENT}"),
    "patient": Kind(f"sleep 2; {EVENT}"),
    "chatty": Kind(f"for i in $(seq 20); do echo $i; sleep 0.05; done; {EVENT}", 21),
    "file": Kind("""echo '{"type": "seen/one"}' >> $DAMA_EVENTS""", 0),
}
