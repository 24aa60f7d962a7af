"""The first page: all commands, by purpose. The lines are here so that none must be imported."""

from __future__ import annotations

import click

from dama.cli.group import LazyGroup, examples

SECTIONS = {
    "Run tasks": {
        "run": ("dama.cli.commands.run:run", "Run a task here and follow it to its end."),
        "resume": (
            "dama.cli.commands.resume:resume",
            "Resume a run that failed or was interrupted.",
        ),
        "fork": (
            "dama.cli.commands.fork:fork",
            "Continue from an earlier event, in a new context.",
        ),
        "cancel": ("dama.cli.commands.cancel:cancel", "Cancel a context with its subtasks."),
        "up": ("dama.cli.commands.up:up", "Start the database and a worker; Ctrl-C stops it."),
        "worker": (
            "dama.cli.commands.worker:worker",
            "Execute queued runs; Ctrl-C stops it.",
        ),
        "gateway": (
            "dama.cli.commands.gateway:gateway",
            "Serve actions, tasks and contexts over HTTP.",
        ),
        "signal": ("dama.cli.commands.signal:signal", "Answer what a task waits for."),
        "emit": ("dama.cli.commands.emit:emit", "Append an event to a context."),
        "services": ("dama.cli.commands.services:services", "List services and their tasks."),
        "call": ("dama.cli.commands.call:call", "Call an action, here or on another node."),
        "emit-event": (
            "dama.cli.commands.call:emit_event",
            "Emit an event to the handlers of services.",
        ),
        "actions": ("dama.cli.commands.call:actions", "List the actions that can be called."),
        "nodes": ("dama.cli.commands.call:nodes", "List the nodes of the cluster."),
        "repl": ("dama.cli.commands.repl:repl", "Call actions from a prompt, with completion."),
        "check": (
            "dama.cli.commands.check:check",
            "Check new code of a task against recorded runs.",
        ),
        "whatif": (
            "dama.cli.commands.whatif:whatif",
            "Fold history with other reducers and compare.",
        ),
        "import": (
            "dama.cli.commands.import_:import_",
            "Draft declarations for existing programs.",
        ),
    },
    "Inspect runs": {
        "open": ("dama.cli.commands.open:open_", "Open the pages in a browser."),
        "ls": ("dama.cli.commands.ls:ls", "List contexts, newest first."),
        "show": ("dama.cli.commands.show:show", "Show one context: status, params, result, steps."),
        "diff": (
            "dama.cli.commands.diff:diff",
            "Compare two moments, two attempts or two contexts.",
        ),
        "tree": ("dama.cli.commands.tree:tree", "Show a context with its subtasks."),
        "timeline": (
            "dama.cli.commands.timeline:timeline",
            "Show when a context was queued, ran and waited.",
        ),
        "logs": ("dama.cli.commands.logs:logs", "Show what a program printed."),
        "events": ("dama.cli.commands.events:events", "Show the events of a context or of all."),
        "queue": ("dama.cli.commands.queue:queue", "Pause, resume and limit queues."),
        "schedule": ("dama.cli.commands.schedule:schedule", "Start tasks by the clock."),
        "workers": ("dama.cli.commands.workers:workers", "List the workers and how busy they are."),
        "activity": (
            "dama.cli.commands.activity:activity",
            "Show how much ran recently and how long it took.",
        ),
        "lineage": (
            "dama.cli.commands.lineage:lineage",
            "Show who wrote a table, from what, and whether it is fresh.",
        ),
        "state": (
            "dama.cli.commands.state:state",
            "Show the state that the events add up to, at any event.",
        ),
    },
    "Maintain the installation": {
        "unit": (
            "dama.cli.commands.unit:unit",
            "Print a systemd unit for a worker of this project.",
        ),
        "perform": (
            "dama.cli.commands.perform:perform",
            "Execute the one run that a launcher has placed; its jobs call this.",
        ),
        "pilot": (
            "dama.cli.commands.pilot:pilot",
            "Print a batch job that executes queued runs.",
        ),
        "token": (
            "dama.cli.commands.token:token",
            "Create, list and revoke tokens for the gateway.",
        ),
        "doctor": (
            "dama.cli.commands.doctor:doctor",
            "Check the installation and say what to do.",
        ),
        "clean": (
            "dama.cli.commands.clean:clean",
            "Remove old logs and working folders of this host.",
        ),
        "scrub": (
            "dama.cli.commands.scrub:scrub",
            "Redact a leaked secret wherever it is stored.",
        ),
        "archive": (
            "dama.cli.commands.archive:archive",
            "Archive closed trees and restore them.",
        ),
        "export": ("dama.cli.commands.bundles:export", "Write contexts into a file."),
        "import-run": (
            "dama.cli.commands.bundles:import_run",
            "Bring contexts from a file into this database.",
        ),
        "slice": (
            "dama.cli.commands.slice_:slice_",
            "Keep states of slices as tables, which SQL can read.",
        ),
        "openlineage": (
            "dama.cli.commands.openlineage:openlineage",
            "Send what runs read and wrote to a server of lineage.",
        ),
        "log": (
            "dama.cli.commands.log:log",
            "Show who reads the log and what they could not handle.",
        ),
        "db": ("dama.cli.commands.db:db", "Start, stop, migrate and open the database."),
    },
}

root = LazyGroup(
    "dama",
    SECTIONS,
    help="Run ETL tasks on PostgreSQL and keep the whole history of each.",
    epilog=examples(
        "dama services                     what there is to run",
        "dama run flights.load --help      what a task takes",
        "dama run flights.load --year 2013",
        "dama ls --status ERROR            what failed",
        "dama resume 42                    resume it after its last step",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
root = click.version_option(package_name="dama-controller", prog_name="dama")(root)
