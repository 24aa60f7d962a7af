"""The run queue as a model: plain values, no clock, no SQL. What `test_queue_model` compares with.

Times are "later" until the test lets them pass, then "past". Ends, claims and fences are written
here once more, apart from the product.
"""

from dataclasses import dataclass, field

TASK = "m.t"
ENDS = {"FINAL": "DONE", "ERROR": "ERROR", "CANCELLED": "CANCELLED"}
LATER, PAST = "later", "past"


@dataclass
class Run:
    """A row of the queue."""

    state: str = "queued"
    epoch: int = 0
    attempt: int = 0
    holder: int | None = None
    due: str | None = None
    expires: str | None = None
    deadline: str | None = None
    awaited: tuple[int, ...] = ()
    pending: int = 0
    on_failure: bool = False
    types: tuple[str, ...] = ()


@dataclass
class Context:
    """A context, the types of its events, and its run while it has one."""

    context_id: int
    parent: int | None
    root: int
    queue: str
    priority: int
    history: list[str]
    status: str = "OPEN"
    epoch: int = 0
    run: Run | None = None
    key: str | None = None  # of its start: another start with it is this one
    reopened: bool = False  # by an event from outside, which starts no run
    deadline: bool = False  # its start gave it one, and so does each resume


@dataclass
class Queue:
    """Its settings."""

    paused: bool = False
    concurrency: int | None = None


@dataclass
class Model:
    """All of a database that the queue is made of."""

    contexts: dict[int, Context] = field(default_factory=dict)
    workers: dict[int, bool] = field(default_factory=dict)  # whether its lease has lapsed
    queues: dict[str, Queue] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    archived: dict[int, Context] = field(default_factory=dict)
    ending: set[int] = field(default_factory=set)  # what is open below them is to be cancelled

    def create(self, context_id, parent, queue, priority, *, times=(), key=None):
        root = context_id if parent is None else self.contexts[parent].root
        self.contexts[context_id] = Context(
            context_id, parent, root, queue, priority, [f"{TASK}:INITIAL"],
            run=Run(
                "delayed" if "due" in times else "queued", **dict.fromkeys(times, LATER)
            ),
            key=key, deadline="deadline" in times,
        )  # fmt: skip
        if key is not None:
            self.keys[key] = context_id

    def runs(self, **wanted):
        """The contexts whose run is so, in the order of their ids."""
        return [
            context
            for _, context in sorted(self.contexts.items())
            if context.run is not None
            and all(getattr(context.run, name) == value for name, value in wanted.items())
        ]

    # ------------------------------------------------------------------ workers

    def claim(self, worker, queues, demand, after, blocked=frozenset()):
        """Whom a claim gets: of each queue the highest priority first, then the oldest.

        Those that are blocked count as queued here, and have no place of their key yet.
        """
        if worker not in self.workers:
            return []
        found = []
        for name in queues:
            setting = self.queues.get(name, Queue())
            running = sum(context.queue == name for context in self.runs(state="running"))
            allowed = demand - len(found)
            if setting.concurrency is not None:
                allowed = min(allowed, setting.concurrency - running)
            if setting.paused or allowed <= 0:
                continue
            ranked = sorted(
                (-context.priority, context.context_id)
                for context in self.runs(state="queued")
                if context.queue == name and context.context_id not in blocked
            )
            places = [place for place in ranked if place > after.get(name, (-(1 << 40), 0))]
            found += [self.contexts[context_id] for _, context_id in places[:allowed]]
        return self._take(worker, found)

    def claim_tree(self, worker, root, demand, blocked=frozenset()):
        """Whom a worker of one tree gets: the oldest first, whatever limits the queue."""
        if worker not in self.workers:
            return []
        found = [
            context
            for context in self.runs(state="queued")
            if context.root == root and context.context_id not in blocked
        ]
        return self._take(worker, found[:demand])

    def _take(self, worker, contexts):
        for context in contexts:
            run = context.run
            context.run = Run(
                "running", run.epoch + 1, run.attempt + 1, holder=worker, deadline=run.deadline
            )
        return contexts

    def renew(self, worker):
        """Whether the worker is known; what is due, late or of the dead is dealt with."""
        if worker not in self.workers:
            return False
        lapsed, self.workers[worker] = self.workers[worker], False
        if lapsed:  # it may have been an outage: everybody has a lease to come back
            self.workers = dict.fromkeys(self.workers, False)
            return True
        for dead in [each for each, is_dead in self.workers.items() if is_dead]:
            self.release(dead)
        self.uphold()
        return True

    def uphold(self, locked=()):
        """What is due, late or of workers that are gone is dealt with, unless it is locked."""
        self._end_overdue(locked)
        for context in self.runs(due=PAST):
            if context.context_id not in locked:
                context.run.state, context.run.due = "queued", None
        for context in self.runs(expires=PAST, attempt=0):
            if context.run.state in {"queued", "delayed"} and context.context_id not in locked:
                context.run.epoch = max(context.run.epoch, 1)  # it counts as begun
                self.append(context, "ERROR")
        for context in self.runs(state="running"):
            if context.run.holder not in self.workers and context.context_id not in locked:
                context.run.state, context.run.holder = "queued", None

    def _end_overdue(self, locked):
        for context in self.runs(deadline=PAST):
            if context.context_id not in locked:
                context.run.epoch = max(context.run.epoch, 1)
                self.append(context, "ERROR")
                self.ending.add(context.context_id)
        for above in sorted(self.ending):
            for context in self.open_below(above):
                if context.context_id not in locked:
                    self.append(context, "CANCELLED")
            if not self.open_below(above):
                self.ending.discard(above)

    def open_below(self, above):
        """What has not ended below a context, itself left out."""
        if above not in self.contexts:
            return []
        return [c for c in self.below(self.contexts[above])[1:] if c.status == "OPEN"]

    def is_ending(self, context):
        """Whether it, or what is above it, has passed its deadline and is not ended whole."""
        while context is not None:
            if context.context_id in self.ending:
                return True
            context = self.contexts.get(context.parent)
        return False

    def release(self, worker, locked=()):
        """Its runs are queued; those that somebody has locked are found by the upkeep."""
        self.workers.pop(worker, None)
        for context in self.runs(holder=worker):
            if context.context_id not in locked:
                context.run.state, context.run.holder = "queued", None

    def hand_back(self, worker, kept):
        for context in self.runs(holder=worker):
            if context.context_id not in kept:  # it was no attempt
                context.run.state, context.run.holder = "queued", None
                context.run.attempt -= 1

    # ------------------------------------------------------------------ runs

    def refusal(self, context, kind, epoch):
        """stale, closed, or None when the event may come."""
        if kind == "/s:SPAWNED" and (context.status == "CANCELLED" or self.is_ending(context)):
            return "closed"  # a start looks at the tree before it writes
        if epoch is not None:
            starts = kind == "STARTED" and epoch > context.epoch
            if not starts and (epoch != context.epoch or kind == "STARTED"):
                return "stale"
            if context.status == "ERROR":
                return "stale"
        if context.status == "DONE" or (context.status == "CANCELLED" and kind != "RESUMED"):
            return "closed"
        has_failed = context.status == "ERROR" and context.epoch > 0
        if has_failed and kind not in {"RESUMED", "CANCELLED"}:
            return "closed"
        return None

    def append(self, context, kind, epoch=None, *, settle=True):
        """Append what `refusal` lets in."""
        if kind == "STARTED" and epoch is not None:
            context.epoch = epoch
        type_ = (
            kind if kind.islower() else f"{TASK}{'/' if kind[0] == '/' else ':'}{kind.strip('/')}"
        )
        was, context.status = context.status, ENDS.get(kind, "OPEN")
        context.reopened = context.reopened or (was == "ERROR" and kind != "RESUMED")
        context.history.append(type_)
        if context.status != "OPEN" and settle:
            self.settle([context])
        run = context.run
        if epoch is None and run and run.state == "waiting" and type_ in run.types:
            run.state, run.due = "queued", None

    def settle(self, ended):
        """Contexts ended: no run of theirs may continue, or start with an epoch that was used."""
        for context in ended:
            if context.run is not None and context.status != "DONE":
                context.epoch = max(context.epoch, context.run.epoch)
            context.run = None
            context.reopened = False
        for parent in {context.parent for context in ended} - {None}:
            run = self.contexts[parent].run
            children = [context for context in ended if context.parent == parent]
            if run is None or run.state != "waiting" or run.pending == 0:
                continue
            run.pending -= len(children)
            failed = run.on_failure and any(child.status != "DONE" for child in children)
            if run.pending <= 0 or failed:
                run.state, run.due = "queued", None

    def park(self, context, worker, waiting, until):
        """Whether the worker had the run."""
        run = context.run
        if run is None or run.state != "running" or run.holder != worker:
            return False
        status = [self.contexts[each].status for each in waiting.awaited]
        failed = waiting.on_failure and not {"ERROR", "CANCELLED"}.isdisjoint(status)
        signals = {type_ for type_ in context.history[waiting.seen :] if type_ in waiting.types}
        ready = bool(status and ("OPEN" not in status or failed)) or until == PAST or bool(signals)
        context.run = Run(
            "queued" if ready else "waiting", run.epoch, run.attempt - 1,
            due=None if ready else until, deadline=run.deadline, awaited=tuple(waiting.awaited),
            pending=status.count("OPEN"), on_failure=waiting.on_failure, types=tuple(waiting.types),
        )  # fmt: skip
        return True

    def retry(self, context, worker):
        run = context.run
        if run is not None and run.holder == worker:
            run.state, run.holder, run.due = "retrying", None, LATER

    # ------------------------------------------------------------------ trees

    def archive(self, roots):
        """Whole trees leave, and their keys are free."""
        for context in [c for c in self.contexts.values() if c.root in roots]:
            self.archived[context.context_id] = self.contexts.pop(context.context_id)
            self.keys.pop(context.key, None)

    def restore(self, context_id):
        """How many come back: the whole tree; None when another context has a key of it."""
        root = getattr(self.archived.get(context_id), "root", None)
        found = [context for context in self.archived.values() if context.root == root]
        if any(context.key in self.keys for context in found):
            return None
        for context in found:
            self.contexts[context.context_id] = self.archived.pop(context.context_id)
            if context.key is not None:
                self.keys[context.key] = context.context_id
        return len(found)

    def below(self, context):
        """The context and all below it."""
        found = [context]
        for each in found:
            found += [child for child in self.contexts.values() if child.parent == each.context_id]
        return sorted(found, key=lambda each: each.context_id)

    def cancel(self, context):
        """Which contexts end."""
        ended = [each for each in self.below(context) if each.status in {"OPEN", "ERROR"}]
        for each in ended:
            self.append(each, "CANCELLED", settle=False)
        self.settle(ended)
        return [each.context_id for each in ended]

    def resume(self, context):
        """Which contexts are reopened: this one, and what failed below what failed."""
        found = [context] if context.status in {"ERROR", "CANCELLED"} or context.reopened else []
        for each in found:
            children = [c for c in self.contexts.values() if c.parent == each.context_id]
            found += [child for child in children if child.status in {"ERROR", "CANCELLED"}]
        for each in found:
            self.append(each, "RESUMED")
            each.reopened = False
            each.run = Run(epoch=each.epoch, deadline=LATER if each.deadline else None)
            self.ending.discard(each.context_id)
        return sorted(each.context_id for each in found)
