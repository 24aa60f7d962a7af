"""Acts that race: each on a connection of its own, with what the model says of it.

An act executes the statement that the product executes. `explain` says how the model may have come
to its result: acts that skip what others have locked have several ways.
"""

import copy
import json
from dataclasses import dataclass
from itertools import chain, combinations

from dama.store.statements import statement
from tests.integration.queue_model import TASK, Queue

LIMITED = {"limit_key": "limit", "key_limit": 2}


def run(connection, name, **params):
    return connection.execute(statement(name), params).fetchall()


def subsets(values):
    values = sorted(values)
    return chain.from_iterable(combinations(values, n) for n in range(len(values) + 1))


@dataclass
class Cancel:
    context: int

    def act(self, connection):
        rows = run(
            connection, "cancel_trees",
            context_ids=[self.context], parent=None, payload='{"message": "enough"}', meta="{}",
        )  # fmt: skip
        return sorted(row[0] for row in rows)

    def explain(self, model, result):
        context = model.contexts.get(self.context)
        if (sorted(model.cancel(context)) if context else []) == result:
            yield model


@dataclass
class Resume:
    context: int

    def act(self, connection):
        return sorted(
            row[0] for row in run(connection, "resume_tree", context_id=self.context, meta="{}")
        )

    def explain(self, model, result):
        context = model.contexts.get(self.context)
        if (model.resume(context) if context else []) == result:
            yield model


@dataclass
class Write:
    """An event: of the run of a claim, or from outside without an epoch."""

    context: int
    kind: str
    epoch: int | None = None

    def act(self, connection):
        type_ = self.kind
        if not type_.islower():
            type_ = TASK + (type_ if type_[0] == "/" else f":{type_}")
        event = {"type": type_, "meta": {} if self.epoch is None else {"epoch": self.epoch}}
        if self.kind == "ERROR":
            event |= {"error": True, "payload": {"message": "no"}}
        batch = json.dumps([{"context_id": self.context, "event": event}])
        return bool(run(connection, "append_events", batch=batch))

    def explain(self, model, result):
        context = model.contexts.get(self.context)
        refused = model.refusal(context, self.kind, self.epoch) if context else "archived"
        if refused and isinstance(result, str):
            yield model
        elif not refused and result is True:
            model.append(context, self.kind, self.epoch)
            yield model


@dataclass
class Begin:
    """A start from outside."""

    key: str | None
    limited: bool

    def act(self, connection):
        meta = {"queue": "one"} | (LIMITED if self.limited else {})
        initial = {"type": f"{TASK}:INITIAL", "payload": {}, "meta": meta}
        item = {"task": TASK, "event": initial, **meta}
        if self.key is not None:
            item["idempotency_key"] = self.key
        batch = json.dumps([item])
        ((context, is_new),) = run(
            connection, "start_contexts", batch=batch, spawned=None, parent=None
        )
        return context, is_new

    def explain(self, model, result):
        context, is_new = result
        if not is_new and model.keys.get(self.key) == context:
            yield model
        elif is_new and self.key not in model.keys:
            model.create(context, None, "one", 0, key=self.key)
            yield model


@dataclass
class Spawn:
    context: int
    epoch: int

    def act(self, connection):
        initial = {"type": f"{TASK}:INITIAL", "payload": {}, "meta": {"queue": "one"}}
        item = {"task": TASK, "queue": "one", "event": initial}
        spawned = {"type": f"{TASK}/s:SPAWNED", "meta": {"epoch": self.epoch}}
        rows = run(
            connection, "start_contexts",
            batch=json.dumps([item, item]), spawned=json.dumps(spawned), parent=self.context,
        )  # fmt: skip
        return [row[0] for row in rows]

    def explain(self, model, result):
        parent = model.contexts.get(self.context)
        refused = model.refusal(parent, "/s:SPAWNED", self.epoch) if parent else "archived"
        if refused and isinstance(result, str):
            yield model
        elif not refused and not isinstance(result, str):
            model.append(parent, "/s:SPAWNED", self.epoch)
            for context in result:
                model.create(context, self.context, "one", 0)
            yield model


@dataclass
class Take:
    """A claim: of what nobody else has locked."""

    worker: int
    queues: tuple[str, ...]
    demand: int

    def act(self, connection):
        rows = run(
            connection, "claim_runs",
            worker_id=self.worker, queues=list(self.queues), ranks=[-(1 << 40)] * len(self.queues),
            marks=[0] * len(self.queues), tasks=[TASK], offered=[], root=None, demand=self.demand,
        )  # fmt: skip
        return sorted((row[0], row[4]) for row in rows)

    def explain(self, model, result):
        taken = [model.contexts[context] for context, _ in result if context in model.contexts]
        queued = {context.context_id for context in model.runs(state="queued")}
        if len(taken) < len(result) or not {c.context_id for c in taken} <= queued:
            return
        if (taken and self.worker not in model.workers) or len(taken) > self.demand:
            return
        for name in {context.queue for context in taken}:
            setting = model.queues.get(name, Queue())
            running = sum(context.queue == name for context in model.runs(state="running"))
            most = setting.concurrency or len(model.contexts)
            wanted = running + sum(context.queue == name for context in taken)
            if setting.paused or name not in self.queues or wanted > most:
                return
        model._take(self.worker, taken)
        if [(context.context_id, context.run.epoch) for context in taken] == result:
            yield model


@dataclass
class HandBack:
    worker: int

    def act(self, connection):
        rows = run(
            connection, "hand_back_runs", worker_id=self.worker, kept=[], only=None, delay=None
        )
        return sorted(row[0] for row in rows)

    def explain(self, model, result):
        held = {context.context_id for context in model.runs(holder=self.worker, state="running")}
        if set(result) <= held:
            model.hand_back(self.worker, held - set(result))
            yield model


@dataclass
class Release:
    worker: int

    def act(self, connection):
        run(connection, "release_worker", worker_ids=[self.worker], died=True)

    def explain(self, model, result):
        held = {context.context_id for context in model.runs(holder=self.worker)}
        for locked in subsets(held):
            found = copy.deepcopy(model)
            found.release(self.worker, locked)
            yield found
            if self.worker in model.workers:  # somebody has its row: it goes with its lease
                found = copy.deepcopy(found)
                found.workers[self.worker] = model.workers[self.worker]
                yield found


@dataclass
class Park:
    """A run waits for a signal, or for all its subtasks."""

    context: int
    worker: int
    waiting: object

    def act(self, connection):
        waiting = vars(self.waiting)
        ((parked,),) = run(
            connection, "park_run", context_id=self.context, worker_id=self.worker, **waiting
        )
        return parked

    def explain(self, model, result):
        context = model.contexts.get(self.context)
        parked = context is not None and model.park(context, self.worker, self.waiting, None)
        if parked == result:
            yield model


@dataclass
class Uphold:
    """It does what it can; the rest is done when all have ended."""

    def act(self, connection):
        run(connection, "uphold", most=100)

    def explain(self, model, result):
        late = {context.context_id for context in model.runs(expires="past", attempt=0)}
        overdue = {context.context_id for context in model.runs(deadline="past")}
        below = {c.context_id for e in model.ending | overdue for c in model.open_below(e)}
        due = {context.context_id for context in model.runs(due="past")}
        lost = {
            c.context_id for c in model.runs(state="running") if c.run.holder not in model.workers
        }
        for left in subsets(late | overdue | below | due | lost):
            found = copy.deepcopy(model)
            found.uphold(left)
            yield found


@dataclass
class Renew:
    """A worker lives; whose lease has lapsed meanwhile is buried, unless somebody has it locked."""

    worker: int
    held: tuple[int, ...]

    def act(self, connection):
        ((gone, *_),) = run(
            connection, "renew_lease",
            worker_id=self.worker, held=list(self.held), queues=["one"], tasks=[TASK],
            offered=[], scheduled=[], lease="10 minutes", ranks=None, marks=None,
        )  # fmt: skip
        return None if gone is None else sorted(gone)

    def explain(self, model, result):
        # It looks twice, so that another act may come in between: what it learns is not exact.
        if self.worker in model.workers:
            lapsed = model.workers[self.worker]
            others = {w for w, is_dead in model.workers.items() if is_dead} - {self.worker}
            yield copy.deepcopy(model)  # somebody has the row of the worker
            model.workers[self.worker] = False
            for some in subsets(others):  # somebody may have the rows of those that are left out
                if lapsed:  # it may have been an outage: all have a lease to come back
                    found = copy.deepcopy(model)
                    found.workers |= dict.fromkeys(some, False)
                    yield found
                    continue
                for locked in subsets(c.context_id for w in some for c in model.runs(holder=w)):
                    found = copy.deepcopy(model)
                    for each in some:
                        found.release(each, locked)
                    yield found
        elif result is None or result == sorted(self.held):
            yield model


@dataclass
class Archive:
    """Closed trees leave, each whole, unless somebody acts on one."""

    def act(self, connection):
        run(connection, "poll_log")
        run(connection, "archive_trees", age="0", failed=True, after=0, demand=100)
        query = """
        SELECT context_id FROM _data_manager_admin.archived_context
          WHERE xmin = pg_current_xact_id_if_assigned()::xid ORDER BY 1
        """
        return [row[0] for row in connection.execute(query).fetchall()]

    def explain(self, model, result):
        roots = {model.contexts[context].root for context in result if context in model.contexts}
        trees = [c for c in model.contexts.values() if c.root in roots]
        if sorted(c.context_id for c in trees) != result or any(c.status == "OPEN" for c in trees):
            return
        model.archive(roots)
        yield model


@dataclass
class Restore:
    """A tree comes back, unless a key of it was given to another meanwhile."""

    context: int

    def act(self, connection):
        ((restored,),) = run(connection, "restore_tree", context_id=self.context)
        return restored

    def explain(self, model, result):
        restored = model.restore(self.context)
        if ("DM003" if restored is None else restored) == result:
            yield model
