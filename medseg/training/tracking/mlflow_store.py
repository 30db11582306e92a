"""An MLflow store: parameters, curves, scores and files of a run, kept up to date also across kills.

A run is found again by a tag that holds the key of its run folder, so a training that goes on after a kill goes on in
the same MLflow run; until it has ended, MLflow shows it as running.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from medseg.core.errors import InputError
from medseg.models.mlflow_client import artifacts_beside, clear_mlflow_errors, open_client
from medseg.training.checkpoint import EpochRecord
from medseg.training.planning.plan import Plan
from medseg.training.tracking.tracker import RunFacts, values_of

KEY_TAG = "medseg.run_key"
STEP_MARK = "loss/training"
"""The value that every epoch has: the last step at which the store has it is the last epoch that arrived."""

MOST_PARAMETERS = 100
"""That MLflow takes at a time."""

LONGEST_PARAMETER = 500
"""Characters; servers before MLflow 2.8 take no longer ones."""

_MEND = (
    "Check --tracking-uri and whether its server runs, then start the training again: it goes on where it was, and "
    "sends what is missing."
)


class MlflowTracker:
    """Sends to the store at `uri`; without one to mlflow.db in the run folder.

    A store that fails in the middle is asked again after the next epoch, so that no training dies of it; one that fails
    at the beginning or at the end is an InputError.
    """

    def __init__(self, facts: RunFacts, key: str, uri: str | None = None) -> None:
        self._uri = uri or f"sqlite:///{(facts.folder / 'mlflow.db').resolve()}"
        self._client: Any = open_client(self._uri, "the tracker mlflow", _MEND)
        with self._clear_errors():
            self.run_id = self._run(facts, key)
            history = self._client.get_metric_history(self.run_id, STEP_MARK)
        self._step = max((metric.step for metric in history), default=-1)
        self._late: Sequence[EpochRecord] = ()

    def epochs_ended(self, records: Sequence[EpochRecord]) -> None:
        try:
            with self._clear_errors():
                self._send(records)
        except InputError:
            self._late = records
        else:
            self._late = ()

    def training_ended(self, scores: Mapping[str, float], files: Sequence[Path]) -> None:
        with self._clear_errors():
            self._send(self._late)
            there = self._client.get_run(self.run_id).data.metrics
            new = {name: value for name, value in scores.items() if there.get(_allowed(name)) != value}
            self._log(new, max(self._step, 0))
            for file in files:
                self._client.log_artifact(self.run_id, str(file))
            self._client.set_terminated(self.run_id)

    def _run(self, facts: RunFacts, key: str) -> str:
        """The run of that key, marked as running, or a new one with the plan's parameters."""
        experiment = self._client.get_experiment_by_name(facts.dataset)
        if experiment is None:
            identifier = self._client.create_experiment(facts.dataset, artifact_location=artifacts_beside(self._uri))
        elif experiment.lifecycle_stage != "active":
            raise InputError(
                f"the MLflow experiment {facts.dataset} in {self._uri} is deleted. Restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or choose another store."
            )
        else:
            identifier = experiment.experiment_id
        for run in self._client.search_runs([identifier], f"tags.`{KEY_TAG}` = '{key}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        tags = {KEY_TAG: key, "medseg.fold": str(facts.fold), "medseg.task": facts.plan.model.task.name}
        run = self._client.create_run(identifier, run_name=facts.folder.resolve().name, tags=tags)
        self._log_parameters(run.info.run_id, parameters_of(facts.plan))
        return str(run.info.run_id)

    def _log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        listed = [Param(name, value[:LONGEST_PARAMETER]) for name, value in parameters.items()]
        for start in range(0, len(listed), MOST_PARAMETERS):
            self._client.log_batch(run_id, params=listed[start : start + MOST_PARAMETERS])

    def _send(self, records: Sequence[EpochRecord]) -> None:
        for record in records:
            if record.step > self._step:
                self._log(values_of(record), record.step)
                self._step = record.step

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), value, now_ms, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def _clear_errors(self) -> AbstractContextManager[None]:
        return clear_mlflow_errors(self._uri, _MEND)


def parameters_of(plan: Plan) -> dict[str, str]:
    """The plan as flat names and texts, "training.batch_size" = "2"; the task's codes and colours are left out."""
    model = plan.model.model_dump(mode="json", exclude={"task"}, exclude_none=True)
    return {
        "task": plan.model.task.name,
        **dict(_flat("model", model)),
        **dict(_flat("training", plan.training.model_dump(mode="json", exclude_none=True))),
    }


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _allowed(name: str) -> str:
    """The name with what MLflow does not take in a metric's name replaced."""
    return re.sub(r"[^\w\-. /:]", "_", name)
