"""Blockages as findings of a study: numbers with intervals, grades with codes, and what could not be assessed."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.study_findings import blockage_findings, study_grades, with_blockages
from medseg.core.findings import Finding
from medseg.core.geometry import Geometry
from medseg.core.task import load_task
from medseg.core.volume import Volume


def soft_map() -> Volume:
    """A straight vessel of 4 mm along k, narrowed to 1.6 mm half-way, as the share of vessel in each voxel."""
    i, j, k = np.indices((30, 30, 80))
    radius = 2.0 - 1.2 * np.exp(-(((k - 40) * 0.5 / 3) ** 2))
    share = np.clip((radius - np.hypot(i - 14.5, j - 14.5) * 0.5) / 0.5 + 0.5, 0, 1).astype(np.float32)
    return Volume(share, Geometry.from_spacing(share.shape, (0.5, 0.5, 0.5)))


@pytest.fixture(scope="module")
def analysis() -> VesselAnalysis:
    return analyse_vessels(soft_map())


def found(analysis: VesselAnalysis, task_name: str = "vessels_cta") -> Finding:
    task = with_blockages(load_task(task_name))
    (finding,) = blockage_findings(analysis, task, soft_map().geometry)
    return finding


def test_diameter_and_area_have_intervals_and_standard_codes(analysis: VesselAnalysis) -> None:
    measured = {one.name: one for one in found(analysis).measurements}
    diameter, area = measured["diameter_stenosis"], measured["area_stenosis"]
    assert diameter.value == pytest.approx(60, abs=3)
    assert area.value == pytest.approx(84, abs=3)
    assert area.interval is not None
    assert area.interval[0] < area.value < area.interval[1]
    assert (diameter.code.value, area.code.value) == ("408715008", "408714007")
    assert measured["nascet_stenosis"].value == pytest.approx(60, abs=3)


def test_a_lesion_has_its_grades(analysis: VesselAnalysis) -> None:
    assert [(one.name, one.category) for one in found(analysis).grades] == [("cad_rads", "3"), ("nascet", "moderate")]


def test_the_study_is_graded_by_dicoms_codes_where_it_is_coronary_and_only_there(analysis: VesselAnalysis) -> None:
    (coronary,) = study_grades(analysis.report, load_task("coronary_cta"))
    (other,) = study_grades(analysis.report, load_task("vessels_cta"))
    assert (coronary.category, coronary.code.scheme, coronary.code.value) == ("3", "DCM", "130726")
    assert (other.category, other.code.scheme, other.code.value) == ("3", "99MEDSEG", "CAD_RADS_3")


def test_veins_and_hard_masks_have_no_grade_of_a_lesion() -> None:
    soft = soft_map()
    task = load_task("vessels_cta")
    vein = analyse_vessels(soft, kind="vein")
    hard = analyse_vessels(Volume((soft.array >= 0.5).astype(np.uint8), soft.geometry))
    assert found(vein).grades == found(hard).grades == ()
    assert found(vein).value("nascet_stenosis") is None
    assert study_grades(vein.report, task) == ()
    assert [one.category for one in study_grades(hard.report, task)] == ["N"]
