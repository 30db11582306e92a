import pytest
from pydantic import ValidationError

from medseg.jobs.job import Job


def test_jobs_that_ask_for_the_same_have_the_same_id() -> None:
    first = Job(workflow="segment", arguments={"scan": "a.nii", "options": {"x": 1, "y": [1, 2]}})
    second = Job(workflow="segment", arguments={"options": {"y": [1, 2], "x": 1}, "scan": "a.nii"})
    assert first.id == second.id
    assert len(first.id) == 64


@pytest.mark.parametrize(
    "other",
    [
        Job(workflow="train", arguments={"scan": "a"}),
        Job(workflow="segment", arguments={"scan": "b"}),
        Job(workflow="segment", arguments={"image": "a"}),
        Job(workflow="segment", arguments={"scan": ["a"]}),
        Job(workflow="segment"),
    ],
)
def test_jobs_that_ask_for_another_thing_have_another_id(other: Job) -> None:
    assert other.id != Job(workflow="segment", arguments={"scan": "a"}).id


def test_an_id_is_the_same_in_every_year() -> None:
    job = Job(workflow="segment", arguments={"scan": "ü.nii"})
    assert job.id == "a2ef7932eb47881ab8c6935ee24cdb862b9bb4458a73b25a1ac91c54dd65c287"


def test_a_job_crosses_processes_as_json() -> None:
    job = Job(workflow="segment", arguments={"a": None, "b": [1, 2.5, "x", True], "c": {"d": "ü"}})
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("arguments", [{"a": object()}, {"a": b"x"}, {1: "a"}])
def test_arguments_are_json(arguments: object) -> None:
    with pytest.raises(ValidationError):
        Job.model_validate({"workflow": "segment", "arguments": arguments})


def test_a_workflow_has_a_name() -> None:
    with pytest.raises(ValidationError):
        Job(workflow="")
