"""A scan of another part of the body is warned of where that is sure, and nowhere else."""

from typing import get_args

import pytest

from medseg.core.study import Series, Study
from medseg.core.task import BodyRegion, load_task, shipped_tasks
from medseg.models.quality.body_part import DEFINED_TERMS, body_part_warnings, regions_shown


def warned(body_part: str, task: str) -> bool:
    return bool(body_part_warnings(Series(Study(), "MR", body_part=body_part), load_task(task)))


@pytest.mark.parametrize(
    ("body_part", "task"),
    [
        ("CHEST", "hippocampus_mr"),
        ("KNEE", "hippocampus_mr"),
        ("L-SPINE", "brain_tumour_mr"),
        ("Head", "liver_lesions_ct"),
        ("BRAIN", "coronary_cta"),
        ("EXTREMITY", "lung_nodules_ct"),
    ],
)
def test_another_part_is_warned_of(body_part: str, task: str) -> None:
    assert warned(body_part, task)


@pytest.mark.parametrize(
    ("body_part", "task"),
    [
        ("HEAD", "hippocampus_mr"),
        ("head neck", "hippocampus_mr"),
        ("NECK", "circle_of_willis_cta"),
        ("CHEST", "liver_lesions_ct"),
        ("CHESTABDPELVIS", "lung_nodules_ct"),
        pytest.param("WHOLEBODY", "hippocampus_mr", id="everything"),
        pytest.param("", "hippocampus_mr", id="nothing said"),
        pytest.param("SCHAEDEL", "hippocampus_mr", id="no defined term"),
        pytest.param("KNEE", "sarcoma_mr", id="a task for any part"),
    ],
)
def test_what_fits_or_is_not_known_is_not(body_part: str, task: str) -> None:
    assert not warned(body_part, task)


def test_the_sentence_says_both() -> None:
    (warning,) = body_part_warnings(Series(Study(), "CT", body_part="HEAD"), load_task("lung_nodules_ct"))
    assert warning == (
        "the scan says that it shows HEAD, and lung_nodules_ct is for the chest or abdomen: check that this is the "
        "right scan"
    )


def test_every_region_has_its_terms_as_dicom_writes_them() -> None:
    assert tuple(DEFINED_TERMS) == get_args(BodyRegion)
    for region, terms in DEFINED_TERMS.items():
        for term in terms.split():
            assert term.isalpha()
            assert len(term) <= 16
            assert region in regions_shown(term.lower())
    assert regions_shown("NECKCHESTABDPELV") == {"neck", "chest", "abdomen", "pelvis"}
    assert {load_task(name).body_regions for name in shipped_tasks()} > {(), ("head",)}
