"""The first page: all commands, by purpose. The lines are here so that none must be imported."""

from __future__ import annotations

import click

from dama.cli.group import LazyGroup, examples

SECTIONS = {
    "Run tasks": {
        "run": ("dama.cli.run:run", "Run a task here and follow it to its end."),
        "resume": ("dama.cli.resume:resume", "Let a run go on that failed or was interrupted."),
        "cancel": ("dama.cli.cancel:cancel", "Cancel a context with its subtasks."),
        "up": ("dama.cli.up:up", "Start the database and a worker, until told to stop."),
        "worker": ("dama.cli.worker:worker", "Perform what is queued, until told to stop."),
        "gateway": ("dama.cli.gateway:gateway", "Serve actions, tasks and contexts over HTTP."),
        "emit": ("dama.cli.emit:emit", "Append an event to a context."),
        "services": ("dama.cli.services:services", "List services and their tasks."),
        "call": ("dama.cli.call:call", "Call an action, here or on another node."),
        "emit-event": ("dama.cli.call:emit_event", "Emit an event to the handlers of services."),
        "actions": ("dama.cli.call:actions", "List the actions that can be called."),
        "nodes": ("dama.cli.call:nodes", "List the nodes of the cluster."),
        "repl": ("dama.cli.repl:repl", "Call actions from a prompt, with completion."),
        "import": ("dama.cli.import_:import_", "Draft declarations for existing programs."),
    },
    "Look at what ran": {
        "ls": ("dama.cli.ls:ls", "List contexts, newest first."),
        "show": ("dama.cli.show:show", "Show one context: status, params, result, steps."),
        "tree": ("dama.cli.tree:tree", "Show a context with its subtasks."),
        "logs": ("dama.cli.logs:logs", "Show what a program printed."),
        "events": ("dama.cli.events:events", "Show the events of a context or of all."),
        "queue": ("dama.cli.queue:queue", "Pause, resume and limit queues."),
        "schedule": ("dama.cli.schedule:schedule", "Start tasks by the clock."),
        "workers": ("dama.cli.workers:workers", "List the workers and how busy they are."),
        "state": (
            "dama.cli.state:state",
            "Show the state that the events add up to, at any event.",
        ),
    },
    "Keep the database": {
        "unit": ("dama.cli.unit:unit", "Print a unit of systemd for a worker of this project."),
        "token": ("dama.cli.token:token", "Make, list and revoke tokens for the gateway."),
        "doctor": ("dama.cli.doctor:doctor", "Look whether all is well, and say what to do."),
        "clean": ("dama.cli.clean:clean", "Remove old logs and working folders of this host."),
        "archive": ("dama.cli.archive:archive", "Move closed trees out of the way, and back."),
        "log": ("dama.cli.log:log", "Show who reads all events, and what they could not handle."),
        "db": ("dama.cli.db:db", "Start, stop, migrate and open the database."),
    },
}

root = LazyGroup(
    "dama",
    SECTIONS,
    help="Run ETL tasks on PostgreSQL, and keep the whole history of each.",
    epilog=examples(
        "dama services                     what there is to run",
        "dama run flights.load --help      what a task takes",
        "dama run flights.load --year 2013",
        "dama ls --status ERROR            what failed",
        "dama resume 42                    let it go on from its last step",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
root = click.version_option(package_name="dama-controller", prog_name="dama")(root)
