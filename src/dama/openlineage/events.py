"""Events of OpenLineage, made of attempts: nothing is read or sent here.

The same event of the log always makes the same event here: its run is named by the database, the
context and the epoch with which the attempt began. One that is sent twice is known by that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)

from dama.openlineage.datasets import dataset_of
from dama.shapes import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dama.domain.event import LoggedEvent
    from dama.openlineage.datasets import Dataset, Place
    from dama.store.attempts import Attempt, Begun, Column, Written

PRODUCER = "urn:dama-controller"
INTEGRATION = "DAMA"
LONGEST_STACK = 20_000  # characters
STATES = {
    "STARTED": RunState.RUNNING,  # of an attempt that continues
    "ADOPTED": RunState.RUNNING,
    "DONE": RunState.RUNNING,
    "RETRYING": RunState.FAIL,
    "ERROR": RunState.FAIL,
    "CANCELLED": RunState.ABORT,
    "FINAL": RunState.COMPLETE,
}


class Maker:
    """Makes the events of one database.

    Args:
        identity: Of the database, among all.
        place: Where its tables are.
        namespace: Of the jobs.
    """

    def __init__(self, identity: str, place: Place, namespace: str) -> None:
        self.place = place
        self._identity = identity
        self._namespace = namespace
        self._version = version("dama-controller")
        set_producer(PRODUCER)

    def run_id(self, begun: Begun) -> str:
        """The id of the run that an attempt is."""
        name = f"dama:{self._identity}/{begun.context_id}/{begun.epoch}"
        return str(uuid5(NAMESPACE_URL, name))

    def event(
        self,
        event: LoggedEvent,
        kind: str,
        attempt: Attempt,
        written: Sequence[Written],
        columns: Mapping[tuple[str, str], Sequence[Column]],
    ) -> RunEvent:
        """The event of OpenLineage that an event of the log makes.

        Args:
            event: Of the log.
            kind: What it means: one of `STATES`.
            attempt: The one that it is of.
            written: What steps of it say of tables.
            columns: Those of tables of the database, as far as they are there.
        """
        own = attempt.own
        is_first = event.version == own.version
        failure = event.payload if kind in {"RETRYING", "ERROR"} else None
        inputs, outputs = self.datasets(own, written)
        return RunEvent(
            eventType=RunState.START if is_first else STATES[kind],
            eventTime=_time(event.created_at),
            run=Run(self.run_id(own), self._run_facets(attempt, failure)),
            job=Job(self._namespace, own.task, {"jobType": _job_type()}),
            inputs=[
                InputDataset(each.namespace, each.name, facets=_schema(each, columns))
                for each in inputs
            ],
            outputs=[
                OutputDataset(
                    each.namespace,
                    each.name,
                    facets=_schema(each, columns),
                    outputFacets=_statistics(rows),
                )
                for each, rows in outputs.items()
            ],
        )

    def datasets(
        self, own: Begun, written: Sequence[Written]
    ) -> tuple[list[Dataset], dict[Dataset, int | None]]:
        """What an attempt reads, and what it writes with the rows that are known."""
        said = [*_texts(own.meta.get("inputs")), *(i for each in written for i in each.inputs)]
        inputs = dict.fromkeys(dataset_of(each, self.place) for each in said)
        outputs: dict[Dataset, int | None] = {}
        for each in _texts(own.meta.get("outputs")):
            outputs[dataset_of(each, self.place)] = None
        for each in written:
            if each.table is not None:
                dataset = dataset_of(each.table, self.place)
                counts = [n for n in (outputs.get(dataset), each.rows) if n is not None]
                outputs[dataset] = sum(counts) if counts else None
        return list(inputs), outputs

    def _run_facets(self, attempt: Attempt, failure: object) -> dict[str, Any]:
        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                version=self._version,
                name="dama",
                openlineageAdapterVersion=self._version,
            )
        }
        if attempt.parent is not None:
            facets["parent"] = self._parent(attempt.parent, attempt.root or attempt.parent)
        if attempt.scheduled_for is not None and (at := _iso(attempt.scheduled_for)):
            facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(nominalStartTime=at)
        if failure is not None:
            facets["errorMessage"] = _failure(failure)
        return facets

    def _parent(self, parent: Begun, root: Begun) -> parent_run.ParentRunFacet:
        return parent_run.ParentRunFacet(
            run=parent_run.Run(runId=self.run_id(parent)),
            job=parent_run.Job(namespace=self._namespace, name=parent.task),
            root=parent_run.Root(
                run=parent_run.RootRun(runId=self.run_id(root)),
                job=parent_run.RootJob(namespace=self._namespace, name=root.task),
            ),
        )


def _job_type() -> job_type_job.JobTypeJobFacet:
    return job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration=INTEGRATION, jobType="TASK"
    )


def _schema(
    dataset: Dataset, columns: Mapping[tuple[str, str], Sequence[Column]]
) -> dict[str, Any]:
    found = columns.get(dataset.table) if dataset.table is not None else None
    if not found:
        return {}
    fields = [
        schema_dataset.SchemaDatasetFacetFields(
            name=name, type=kind, description=comment, ordinal_position=place
        )
        for place, (name, kind, comment) in enumerate(found, 1)
    ]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields=fields)}


def _statistics(rows: int | None) -> dict[str, Any]:
    if rows is None:
        return {}
    made = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return {"outputStatistics": made}


def _failure(payload: object) -> error_message_run.ErrorMessageRunFacet:
    """The error of an event, which anybody may have written."""
    found: Mapping[str, Any] = payload if is_object(payload) else {}
    name, message, stack = (found.get(key) for key in ("name", "message", "stack"))
    words = ": ".join(each for each in (name, message) if isinstance(each, str) and each)
    return error_message_run.ErrorMessageRunFacet(
        message=words or "It failed.",
        programmingLanguage="python",
        stackTrace=stack[:LONGEST_STACK] if isinstance(stack, str) and stack else None,
    )


def _texts(value: object) -> Iterable[str]:
    """The strings of a list that anybody may have written."""
    return [each for each in value if isinstance(each, str)] if is_array(value) else []


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _iso(text: str) -> str | None:
    """A moment as OpenLineage has it; None for what is no moment."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _time(moment) if moment.tzinfo else None
