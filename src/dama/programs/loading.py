"""Loading: what the loader of a tap is told, in a file of its run and in its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.definitions.command import WORK_DIR

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition
    from dama.programs.run_directory import RunDirectory
    from dama.run.execution import Execution

FILE = "tap.json"


def for_loader(
    task: TaskDefinition[Any], execution: Execution, directory: RunDirectory
) -> dict[str, str]:
    """The variables for the loader of a tap, whose order is in a file then; none for other tasks.

    Nothing in the file is secret: the loader fills in the secrets, which its environment has.
    """
    spec, claim = task.program, execution.claim
    if spec is None or (tap := spec.tap) is None:
        return {}
    database = execution.store.database
    params = {name: value for name, value in claim.params.items() if value is not None}
    values = {WORK_DIR: str(execution.work_dir()), **params}
    order = {
        "task": task.name,
        "context_id": claim.context_id,
        "epoch": directory.epoch,
        "argv": spec.argv(values),
        "params": params,
        "key": tap.key(values),
        "secrets": list(spec.secrets),
        "is_pooled": database.is_pooled,
        "schema": tap.schema,
        "config": tap.config,
        "catalog": tap.catalog,
        "bad_rows": tap.bad_rows,
    }
    directory.write(FILE, order)
    return {"DAMA_TAP": str(directory.path / FILE), "DAMA_TAP_DATABASE": database.conninfo}
