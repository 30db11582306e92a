"""batch.json of a batch's output folder: the one model that all its results are of, and what each input passed over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.models.inference.ensemble import Model
from medseg.workflows.scans.find_scans import PassedOver

BATCH = "batch.json"


class BatchRecord(BaseModel):
    """The model of a batch, and what was passed over, by the input that held it."""

    model_config = ConfigDict(frozen=True)

    model: str = ""
    model_sha256: str
    task: str = ""
    passed_over: dict[str, tuple[PassedOver, ...]] = {}

    @property
    def all_passed_over(self) -> tuple[PassedOver, ...]:
        """Each file or series that an input passed over, once."""
        return tuple(dict.fromkeys(passed for held in self.passed_over.values() for passed in held))


def read_record(output: Path, bundle: Model) -> BatchRecord:
    """The record of a folder for batches of this model; an empty one where none has begun there.

    Raises InputError where the batches there are of another model: results of two are not mixed.
    """
    path = output / BATCH
    if not path.is_file():
        return BatchRecord(model=bundle.name, model_sha256=bundle.sha256, task=bundle.spec.task.name)
    try:
        record = BatchRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{path} cannot be read: it should name the model of the batch. Choose another folder."
        ) from error
    if record.model_sha256 != bundle.sha256:
        raise InputError(
            f"{output} holds a batch of another model ({record.model_sha256[:12]}), and {bundle.name} is "
            f"{bundle.sha256[:12]}. Choose another output folder."
        )
    return record


def add_to_record(output: Path, bundle: Model, passed_over: Mapping[Path, tuple[PassedOver, ...]]) -> None:
    """Write down what inputs passed over, in place of what was known of them; begin the record where there is none.

    Only where nobody else writes it meanwhile. Raises InputError as `read_record` does.
    """
    record = read_record(output, bundle)
    known = {
        source: tuple(one for one in held if not any(one.path.is_relative_to(path.absolute()) for path in passed_over))
        for source, held in record.passed_over.items()
    }
    new = {str(path.absolute()): held for path, held in passed_over.items()}
    changed = record.model_copy(update={"passed_over": known | new})
    with whole_file(output / BATCH) as unfinished:
        unfinished.write_text(changed.model_dump_json(indent=1), encoding="utf-8")
