"""Which tracker a run has: chosen once, kept in the run folder, so that a run goes on as it began."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, PlanError
from medseg.core.extras import require_extra
from medseg.core.task import first_problem
from medseg.models import mlflow_client
from medseg.training.tracking.mlflow_store import MlflowTracker
from medseg.training.tracking.tensorboard import TensorBoardTracker
from medseg.training.tracking.tracker import RunFacts, Tracker

TrackerName = Literal["tensorboard", "mlflow"]
FILE = "tracking.json"


class Tracking(BaseModel):
    """The tracker of a run; `key` is what an MLflow store knows the run by, whatever the folder is called later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracker: TrackerName
    uri: str | None = None
    key: str


def choose_tracking(run_folder: Path, tracker: TrackerName, uri: str | None = None) -> None:
    """Keep the choice in the run folder. Raises InputError where the tracker's extra is missing or a URI is for none.

    Raises PlanError where the run has another tracker already.
    """
    if tracker == "mlflow":
        require_extra("the tracker mlflow", "mlflow", mlflow_client.PACKAGES)
    elif uri is not None:
        raise InputError(f"a tracking URI is for the tracker mlflow; {tracker} writes into the run folder")
    there = read_tracking(run_folder)
    if there is None:
        chosen = Tracking(tracker=tracker, uri=uri, key=uuid.uuid4().hex)
        with whole_file(run_folder / FILE) as unfinished:
            unfinished.write_text(chosen.model_dump_json(indent=1), encoding="utf-8")
    elif (there.tracker, there.uri) != (tracker, uri):
        raise PlanError(
            f"{run_folder} holds a run that is tracked by {there.tracker}{f' at {there.uri}' if there.uri else ''}. "
            "Take another run folder, or leave out --tracker and --tracking-uri."
        )


def read_tracking(run_folder: Path) -> Tracking | None:
    """What was chosen for the run; None where nothing was. Raises InputError where the file is not valid."""
    path = run_folder / FILE
    if not path.is_file():
        return None
    try:
        return Tracking.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(f"{path} is not a choice of tracker: {first_problem(error)}. Delete it.") from error


def open_tracker(facts: RunFacts) -> Tracker:
    """The tracker chosen for the run, TensorBoard where none was. Raises InputError as the tracker does."""
    chosen = read_tracking(facts.folder)
    if chosen is None or chosen.tracker == "tensorboard":
        return TensorBoardTracker(facts.folder / "tensorboard")
    return MlflowTracker(facts, chosen.key, chosen.uri)
