"""The run queue against its model while acts race, with a stranger's lock in their way.

Two or three connections act at the same time; each stands still wherever the stranger or another
has locked something. What comes of it is what one after the other, in some order, would do.
`MODEL_EXAMPLES=2000 make test ARGS=tests/integration/test_queue_races.py` looks for longer.
"""

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule, run_state_machine_as_test

from dama.domain.outcome import Waiting
from dama.store import Claim
from tests.integration.racing import (
    STRANGERS,
    Cancel,
    HandBack,
    Park,
    Race,
    Release,
    Resume,
    Spawn,
    Take,
    Uphold,
    Write,
    explanations,
)
from tests.integration.test_queue_model import (
    CONTEXTS,
    EXAMPLES,
    QUEUES,
    RUNS,
    Bench,
    QueueMachine,
    contexts_of,
    runs_of,
)

ACTS = (
    "cancel", "resume", "end", "fail", "start", "step", "signal", "spawn", "take", "take more",
    "hand back", "release", "park for signal", "park for subtasks", "uphold",
)  # fmt: skip


class RacingMachine(QueueMachine):
    """Between the steps of its base, some of them at once."""

    def __init__(self, bench, race):
        super().__init__(bench)
        self.race = race

    @rule(
        target=QueueMachine.claims,
        rounds=st.lists(
            st.lists(st.sampled_from(ACTS), min_size=2, max_size=3), min_size=1, max_size=4
        ),
        claim=QueueMachine.claims,
        context=QueueMachine.contexts,
        worker=QueueMachine.workers,
        stranger=st.sampled_from(list(STRANGERS)),
        hold=st.booleans(),
    )
    def some_at_once(self, rounds, claim, context, worker, stranger, hold):
        found = []
        for names in rounds:
            acts = [self.act(name, claim, context, worker) for name in names]
            found += self.race_of(acts, stranger, claim, hold=hold)
        return multiple(*found)

    def race_of(self, acts, stranger, claim, *, hold):
        results = self.race.run(acts, stranger, claim.context_id, hold=hold)
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
        }[name]

    def explained(self, acts, results):
        contexts, runs = self.found(CONTEXTS), self.found(RUNS)
        for model in explanations(self.model, acts, results):
            model.uphold()
            if contexts_of(model) == contexts and runs_of(model) == runs:
                return model
        raise AssertionError(f"no order explains {list(zip(acts, results, strict=True))}: {runs}")

    def claims_of(self, acts, results):
        for act, result in zip(acts, results, strict=True):
            for context, epoch in result if isinstance(act, Take) else []:
                assert (context, epoch) not in self.given, "an epoch was given twice"
                self.given.add((context, epoch))
                self.held.setdefault(act.worker, set()).add(context)
                yield Claim(context, None, context, "m.t", epoch, 1, "one", 0, params={})


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_acts_that_race_come_to_what_some_order_of_them_would(server, database_url):
    """Claims, ends, signals, waits, starts, cancellations, upkeep; nothing deadlocks."""
    profile = settings(
        max_examples=EXAMPLES or 20,
        stateful_step_count=60 if EXAMPLES else 20,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    race = Race(database_url, 3)
    try:
        with Bench.opened(database_url) as bench:
            run_state_machine_as_test(lambda: RacingMachine(bench, race), settings=profile)
    finally:
        race.close()
    with psycopg.connect(database_url) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(query).fetchone() == (0,)
