"""Radiomic features of a made cube, by hand; and a sentence where the library is missing."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from dicom_results import CREATED, MODEL, TASK

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.reports import radiomics
from medseg.exchange.reports.radiomics import write_radiomics_csv

GRID = Geometry.from_spacing((14, 13, 12), (2.0, 2.0, 3.0))


def made() -> tuple[Report, Volume, LabelMap]:
    """A kidney of 100 HU with a tumour of 4 x 4 x 4 voxels in it, half of 40 HU, half of 80 HU."""
    array = np.zeros(GRID.shape, np.uint16)
    array[2:12, 2:11, 2:10] = 1
    array[5:9, 4:8, 4:8] = 300
    image = np.where(array > 0, 100.0, -50.0)
    image[5:7, 4:8, 4:8], image[7:9, 4:8, 4:8] = 40.0, 80.0
    volume, label_map = Volume(image.astype(np.float32), GRID, "HU"), LabelMap(array, GRID, TASK.label_schema)
    report = Report(
        series=Series(Study(), "CT"), source=Path("scan"), source_sha256="0" * 64, task=TASK, model=MODEL,
        findings=measure_findings(label_map, TASK, volume), created=CREATED, duration_s=1.0,
    )  # fmt: skip
    return report, volume, label_map


@pytest.mark.skipif(find_spec("mirp") is None, reason="needs MIRP: pip install 'medseg[radiomics]'")
def test_features_of_a_made_tumour_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    report, volume, label_map = made()
    numbers = np.where(label_map.array == 1, 1, np.where(label_map.array == 300, 2, 0)).astype(np.uint16)
    assert [finding.label.name for finding in report.findings] == ["kidney", "tumour"]
    write_radiomics_csv(report, volume, numbers, tmp_path / "radiomics.csv")
    with (tmp_path / "radiomics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["label"], row["instance"]) for row in rows} == {("tumour", "1")}
    assert {row["discretisation"] for row in rows} == {"25 a bin"}
    values = {row["feature"]: float(row["value"]) for row in rows if row["value"]}
    assert values["stat_mean"] == pytest.approx(60.0)
    assert values["stat_var"] == pytest.approx(400.0)
    assert (values["stat_min"], values["stat_max"]) == (40.0, 80.0)
    assert values["morph_vol_approx"] == pytest.approx(64 * 12.0)
    name = next(name for name in values if name.startswith("ih_entropy"))
    assert values[name] == pytest.approx(1.0)  # two bins, even: 40 and 80 HU lie two bins of 25 HU apart
    assert len(values) > 150


def test_a_missing_library_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, volume, label_map = made()
    monkeypatch.setattr("medseg.core.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"radiomics needs mirp, .* pip install 'medseg\[radiomics\]'"):
        write_radiomics_csv(report, volume, label_map.array, tmp_path / "radiomics.csv")
    assert not list(tmp_path.iterdir())
    assert radiomics.BINS["SUVbw"] == (0.0, 0.5)
