from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medseg.core.findings import Finding, Measurement
from medseg.core.labels import Code
from medseg.core.report import NOT_FOR_DIAGNOSIS, ModelIdentity, Report, Review
from medseg.core.study import Series, Study
from medseg.core.task import load_task

TASK = load_task("phantom_ct")
VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
numbers = st.floats(allow_nan=False, allow_infinity=False)


def report(value: float = 1.25, text: str = "") -> Report:
    measurement = Measurement(name="volume", value=value, unit="mL", code=VOLUME, interval=(1.0, 1.5))
    finding = Finding(
        label=TASK.label_schema.named("lesion"),
        instance=1,
        centroid_mm=(1.5, -2.5, 0.1),
        index=(3, 4, 5),
        measurements=(measurement,),
    )
    study = Study(patient_id="P1", patient_name=text, study_uid="1.2.3", date="20260102", description=text)
    return Report(
        series=Series(study, "CT", "1.2.3.4", text, "LIVER", (Path("a/1.dcm"), Path("a/2.dcm"))),
        source=Path("a"),
        source_sha256="0" * 64,
        task=TASK,
        model=ModelIdentity(name="m", sha256="1" * 64, medseg_version="0.1.0"),
        findings=(finding,),
        warnings=(text,),
        created=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        duration_s=value,
    )


@given(numbers, st.text())
def test_a_report_written_as_json_reads_back_the_same(value: float, text: str) -> None:
    written = report(value, text)
    assert Report.model_validate_json(written.model_dump_json()) == written


def test_it_says_that_it_is_not_for_diagnosis() -> None:
    assert report().limitations == (NOT_FOR_DIAGNOSIS,)


def test_a_key_that_nobody_knows_is_refused() -> None:
    text = report().model_dump_json()
    with pytest.raises(ValidationError, match="Extra inputs"):
        Report.model_validate_json(text.replace('"duration_s"', '"typo":1,"duration_s"'))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measurement_is_a_finite_number(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Measurement(name="volume", value=value, unit="mL", code=VOLUME)


def test_a_measurement_never_travels_without_its_unit() -> None:
    with pytest.raises(ValidationError):
        Measurement(name="volume", value=1.0, unit="", code=VOLUME)


def test_a_finding_gives_its_values_by_name() -> None:
    (finding,) = report().findings
    assert finding.value("volume") == 1.25
    assert finding.value("diameter") is None


def test_instances_count_from_one() -> None:
    with pytest.raises(ValidationError):
        Finding(label=TASK.labels[0], instance=0, centroid_mm=(0, 0, 0), index=(0, 0, 0))


def test_who_drew_and_who_judged_is_said() -> None:
    made = datetime(2026, 1, 3, 8, 5, tzinfo=UTC)
    of_model = Review(decision="accepted", reader="jane", made=made)
    assert of_model.sentence == "Outlines made by the model, accepted by jane on 2026-01-03 08:05 UTC."
    corrected = Review(
        decision="rejected",
        reader="jane",
        made=made,
        corrected_by="john",
        corrected=datetime(2026, 1, 2, 17, 30, tzinfo=UTC),
    )
    assert corrected.sentence == (
        "Outlines corrected by john on 2026-01-02 17:30 UTC, rejected by jane on 2026-01-03 08:05 UTC."
    )
