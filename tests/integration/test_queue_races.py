"""The run queue against its model while acts race, with a stranger's lock in their way.

Two or three connections act at the same time; each stands still wherever the stranger or another
has locked something. What comes of it is what one after the other, in some order, would do.
`MODEL_EXAMPLES=2000 make test ARGS=tests/integration/test_queue_races.py` looks for longer.
"""

import time
from random import Random

import psycopg
import pytest
from hypothesis.stateful import MultipleResults

from dama.domain.outcome import Waiting
from dama.store import Claim
from tests.integration.race import LOST, STRANGERS, Race, explanations
from tests.integration.racing import (
    Archive,
    Begin,
    Cancel,
    HandBack,
    Park,
    Release,
    Renew,
    Restore,
    Resume,
    Spawn,
    Take,
    Uphold,
    Write,
)
from tests.integration.test_queue_model import (
    CONTEXTS,
    EXAMPLES,
    QUEUES,
    RUNS,
    WORKERS,
    Bench,
    QueueMachine,
    contexts_of,
    runs_of,
    workers_of,
)

ACTS = (
    "cancel", "resume", "end", "fail", "start", "step", "signal", "spawn", "take", "take more",
    "hand back", "release", "park for signal", "park for subtasks", "uphold", "begin",
    "begin with key",
)  # fmt: skip
if EXAMPLES:  # these come to too many results for a short run
    ACTS += ("renew", "archive", "restore")


class RacingMachine(QueueMachine):
    """Between the steps of its base, some acts at once.

    What a race comes to is not the same each time, so the steps are drawn here and not by
    Hypothesis, which needs that.
    """

    def __init__(self, bench, race, seed):
        super().__init__(bench)
        self.race = race
        self.random = Random(seed)
        self.log = [f"seed {seed}"]
        self.drawn = {"contexts": [], "workers": [], "claims": []}

    def drive(self, steps):
        self.take("workers", self.two_workers())
        self.take("contexts", self.two_contexts(expires=True))
        for _ in range(steps):
            name, step = self.random.choice(STEPS)
            try:
                step(self)
                self.the_contexts_are_those_of_the_model()
                self.the_runs_are_those_of_the_model()
                self.the_workers_are_those_of_the_model()
                self.the_places_of_a_key_are_given()
                self.nothing_is_forgotten()
            except BaseException as error:
                error.add_note("\n".join([self.log[0], *self.log[-40:], name]))
                raise

    def take(self, kind, found):
        values = found.values if isinstance(found, MultipleResults) else (found,)
        self.drawn[kind] += [value for value in values if value is not None]

    def one(self, kind):
        """One of them, rather a late one, that is not archived; None when there is none."""
        drawn = [each for each in self.drawn[kind][-12:] if self.is_there(kind, each)][-8:]
        return self.random.choice(drawn) if drawn else None

    def is_there(self, kind, each):
        context = each.context_id if kind == "claims" else each
        return kind == "workers" or context in self.model.contexts

    def coin(self):
        return self.random.random() < 0.5

    def some_at_once(self):
        if self.coin() and self.coin():
            passing(self)
        claim, context, worker = self.one("claims"), self.one("contexts"), self.one("workers")
        if claim is None or context is None:
            return
        stranger = self.random.choice(list(STRANGERS))
        names = self.random.choices(ACTS, k=self.random.choice([2, 3]))
        acts = [self.act(name, claim, context, worker) for name in names]
        hold = self.coin()
        every = range(len(acts))
        loses = self.random.choice([(), (), every, *zip(every)]) if EXAMPLES else ()
        self.log.append(f"at once, beside a stranger's {stranger}, {hold=}, {loses=}: {acts}")
        self.drawn["claims"] += self.race_of(acts, stranger, claim, hold=hold, loses=loses)

    def race_of(self, acts, stranger, claim, *, hold, loses=()):
        results = self.race.run(acts, stranger, claim.context_id, hold=hold, loses=loses)
        while self.bench.sql.execute("SELECT uphold(100)").fetchone() != (0,):
            pass  # what was locked is left to the next time

        self.model = self.explained(acts, results)
        return list(self.claims_of(acts, results))

    def act(self, name, claim, context, worker):
        run, epoch = claim.context_id, claim.epoch
        children = [c.context_id for c in self.model.contexts.values() if c.parent == run]
        seen = len(self.model.contexts[run].history)
        holder = self.model.contexts[run].run and self.model.contexts[run].run.holder
        return {
            "cancel": Cancel(context),
            "resume": Resume(context),
            "end": Write(run, "FINAL", epoch),
            "fail": Write(run, "ERROR", epoch),
            "start": Write(run, "STARTED", epoch),
            "step": Write(run, "/s:DONE", epoch),
            "signal": Write(run, "signal"),
            "spawn": Spawn(run, epoch),
            "begin": Begin(None, limited=self.coin()),
            "begin with key": Begin("k", limited=self.coin()),
            "take": Take(worker, QUEUES, 2),
            "take more": Take(holder or worker, QUEUES[::-1], 3),
            "hand back": HandBack(holder or worker),
            "release": Release(worker),
            "park for signal": Park(
                run,
                holder or worker,
                Waiting([], on_failure=False, until=None, types=["signal"], seen=seen),
            ),
            "park for subtasks": Park(
                run,
                holder or worker,
                Waiting(children, on_failure=True, until=None, types=[], seen=0),
            ),
            "uphold": Uphold(),
            "renew": Renew(worker, tuple(sorted(self.held.get(worker, ())))),
            "archive": Archive(),
            "restore": Restore(self.random.choice([context, *self.model.archived])),
        }[name]

    def explained(self, acts, results):
        found = self.found(CONTEXTS), self.found(RUNS), self.found(WORKERS)
        for model in explanations(self.model, acts, results):
            model.uphold()
            if (contexts_of(model), runs_of(model), workers_of(model)) == found:
                return model
        told = list(zip(acts, results, strict=True))
        raise AssertionError(f"no order explains {told}: {found[1:]}")

    def claims_of(self, acts, results):
        for act, result in zip(acts, results, strict=True):
            for context, epoch in result if isinstance(act, Take) and result != LOST else []:
                assert (context, epoch) not in self.given, "an epoch was given twice"
                self.given.add((context, epoch))
                self.held.setdefault(act.worker, set()).add(context)
                yield Claim(context, None, context, "m.t", epoch, 1, "one", 0, params={})


def claimed(machine):
    worker = machine.one("workers")
    demand, goes_on = machine.random.randint(1, 3), machine.coin()
    machine.log.append(f"claim {worker=} {demand=} {goes_on=}")
    machine.take("claims", machine.claim(worker, QUEUES, demand, goes_on))


def started(machine):
    wishes = {
        "delayed": machine.coin() and machine.coin(),
        "expires": machine.coin(),
        "deadline": machine.coin(),
        "limited": machine.coin(),
    }
    queue = machine.random.choice(QUEUES)
    machine.log.append(f"start {wishes}")
    machine.take("contexts", machine.start(queue, 0, **wishes, key=None))


def spawned(machine):
    if (claim := machine.one("claims")) is not None:
        machine.log.append(f"subtasks {claim=}")
        machine.take("contexts", machine.start_subtasks(claim, [0, 0]))


def with_claim(name, *kinds):
    """A step of the machine on a claim, and perhaps on a worker."""

    def step(machine):
        claim = machine.one("claims")
        if claim is not None:
            others = [machine.one(kind) for kind in kinds]
            machine.log.append(f"{name} {others} {claim}")
            getattr(machine, name)(*others, claim)

    return step


def begun(machine):
    if (claim := machine.one("claims")) is not None:
        machine.log.append(f"begin {claim}")
        machine.write(claim, "STARTED")


def passing(machine):
    what, context = machine.random.choice(["due", "expires", "deadline"]), machine.one("contexts")
    if context is not None:
        machine.log.append(f"{what} of {context} passes")
        machine.let_its_time_come(context, what)


def of_a(kind, name):
    def step(machine):
        if (one := machine.one(kind)) is not None:
            machine.log.append(f"{name} {one}")
            getattr(machine, name)(one)

    return step


def limited(machine):
    paused, most = machine.random.choice([False, False, True]), machine.random.choice([0, 1, 2])
    queue = machine.random.choice(QUEUES)
    machine.log.append(f"{queue=} {paused=} {most=}")
    machine.set_queue(queue, paused, most)


STEPS = [
    *[("race", RacingMachine.some_at_once)] * 10,
    *[("claim", claimed)] * 4,
    *[("start", started)] * 2,
    ("subtasks", spawned),
    ("begin", begun),
    ("hand back", with_claim("hand_back", "workers")),
    ("time", passing),
    ("lapse", of_a("workers", "lapse")),
    ("renew", of_a("workers", "renew")),
    ("resume", of_a("contexts", "resume")),
    ("register", lambda machine: machine.take("workers", machine.register())),
    ("limit", limited),
]  # fmt: skip


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_acts_that_race_come_to_what_some_order_of_them_would(database_url):
    """Claims, ends, signals, waits, starts, cancellations, upkeep; nothing deadlocks."""
    first = time.time_ns() if EXAMPLES else 0
    race = Race(database_url, 3)
    try:
        with Bench.opened(database_url) as bench:
            for seed in range(first, first + (EXAMPLES or 12)):
                machine = RacingMachine(bench, race, seed)
                try:
                    machine.drive(100 if EXAMPLES else 30)
                finally:
                    machine.teardown()
    finally:
        race.close()
    with psycopg.connect(database_url) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(query).fetchone() == (0,)
