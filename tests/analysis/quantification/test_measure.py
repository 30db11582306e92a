"""From masks drawn by hand to findings."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.sr._concepts_dict import concepts as dictionary

from medseg.analysis.quantification import concepts
from medseg.analysis.quantification.measure import measure_findings
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import Task, load_task
from medseg.core.volume import Volume

SHAPE = (12, 12, 12)


@pytest.fixture(scope="module")
def task() -> Task:
    """Organ 1, counted lesion 2 from 0.05 ml, vessel 3, counted blockage 4."""
    return load_task("phantom_ct")


@pytest.fixture
def geometry() -> Geometry:
    return Geometry.from_spacing(SHAPE, (2.0, 2.0, 2.5), (-10.0, 0.0, 100.0))  # 0.01 ml a voxel


@pytest.fixture
def array() -> NDArray[np.uint8]:
    array = np.zeros(SHAPE, np.uint8)
    array[0:2, 0:2, 0:2] = 1
    array[9:11, 0:2, 0] = 1  # a second piece of the organ
    array[4:6, 4:6, 4:6] = 2  # 8 voxels, 0.08 ml
    array[8:10, 8:11, 8:10] = 2  # 12 voxels, 0.12 ml
    array[0, 11, 0:4] = 2  # 4 voxels, 0.04 ml: below the task's 0.05 ml
    array[0, 6, 0:5] = 2  # 5 voxels, 0.05 ml: just a finding
    return array


def test_organs_are_one_finding_and_lesions_one_each_largest_first(
    array: NDArray[np.uint8], geometry: Geometry, task: Task
) -> None:
    findings = measure_findings(LabelMap(array, geometry, task.label_schema), task)
    assert [(finding.label.name, finding.instance) for finding in findings] == [
        ("organ", 1), ("lesion", 1), ("lesion", 2), ("lesion", 3),
    ]  # fmt: skip
    assert [finding.value("volume") for finding in findings] == pytest.approx([0.12, 0.12, 0.08, 0.05])
    lesion = findings[1]
    assert lesion.centroid_mm == pytest.approx((-10 + 2 * 8.5, 2 * 9, 100 + 2.5 * 8.5))
    assert array[lesion.index] == 2
    assert lesion.value("longest_axial_diameter") is not None
    assert findings[0].value("longest_axial_diameter") is None
    assert lesion.value("mean_intensity") is None


def test_the_jump_goes_into_the_structure_even_where_its_middle_is_outside(geometry: Geometry, task: Task) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[2:10, 2, 5] = array[2, 2:10, 5] = array[9, 2:10, 5] = 3
    (vessel,) = measure_findings(LabelMap(array, geometry, task.label_schema), task)
    assert array[vessel.index] == 3


def test_intensity_carries_the_images_unit(array: NDArray[np.uint8], geometry: Geometry, task: Task) -> None:
    image = np.where(array == 2, 40.0, -100.0).astype(np.float32)
    image[8, 8, 8] = 52.0
    findings = measure_findings(LabelMap(array, geometry, task.label_schema), task, Volume(image, geometry, "HU"))
    lesion = {measurement.name: measurement for measurement in findings[1].measurements}
    assert lesion["mean_intensity"].value == pytest.approx(41.0)
    assert lesion["intensity_standard_deviation"].value == pytest.approx(np.sqrt(11.0))
    assert lesion["maximum_intensity"].value == 52.0
    assert {lesion[name].unit for name in lesion if "intensity" in name} == {"[hnsf'U]"}
    assert (lesion["volume"].unit, lesion["longest_axial_diameter"].unit) == ("ml", "mm")


def test_voxels_without_a_value_are_left_out(array: NDArray[np.uint8], geometry: Geometry, task: Task) -> None:
    image = np.full(SHAPE, np.nan, np.float32)
    image[8, 8, 8] = 7.0
    findings = measure_findings(LabelMap(array, geometry, task.label_schema), task, Volume(image, geometry))
    assert findings[1].value("mean_intensity") == 7.0
    assert findings[2].value("mean_intensity") is None


def test_only_what_the_task_asks_for(array: NDArray[np.uint8], geometry: Geometry, task: Task) -> None:
    modest = task.model_copy(update={"measurements": ("volume",)})
    findings = measure_findings(LabelMap(array, geometry, task.label_schema), modest)
    assert {measurement.name for finding in findings for measurement in finding.measurements} == {"volume"}


def test_an_empty_mask_has_no_findings(geometry: Geometry, task: Task) -> None:
    assert measure_findings(LabelMap(np.zeros(SHAPE, np.uint8), geometry, task.label_schema), task) == ()


def test_one_voxel_is_a_finding_where_the_task_lets_it(geometry: Geometry, task: Task) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[0, 0, 0] = 2
    every = task.model_copy(update={"min_finding_ml": 0.0})
    (lesion,) = measure_findings(LabelMap(array, geometry, task.label_schema), every)
    assert lesion.value("volume") == pytest.approx(0.01)
    assert (lesion.index, lesion.centroid_mm) == ((0, 0, 0), (-10.0, 0.0, 100.0))
    assert measure_findings(LabelMap(array, geometry, task.label_schema), task) == ()


def test_another_grid_and_another_task_are_refused(array: NDArray[np.uint8], geometry: Geometry, task: Task) -> None:
    label_map = LabelMap(array, geometry, task.label_schema)
    moved = Geometry.from_spacing(SHAPE, (2.0, 2.0, 2.5))
    with pytest.raises(GeometryError, match="the mask and the image are on different grids"):
        measure_findings(label_map, task, Volume(np.zeros(SHAPE), moved))
    with pytest.raises(InputError, match="are not those of task sarcoma_pet"):
        measure_findings(label_map, load_task("sarcoma_pet"))


def test_every_code_stands_in_the_standard_under_its_meaning() -> None:
    codes = [value for value in vars(concepts).values() if isinstance(value, Code)]
    assert len(codes) > 5
    for code in codes:
        if code.scheme == "99MEDSEG":  # of our own, for what no scheme names
            continue
        meanings = [entry[code.value][0] for entry in dictionary[code.scheme].values() if code.value in entry]
        assert code.meaning in meanings, code
    units = {concepts.MILLIMETRE, concepts.SQUARE_MILLIMETRE, concepts.NO_UNIT, *concepts.UCUM_OF_UNIT.values()}
    assert units <= {value for entry in dictionary["UCUM"].values() for value in entry}


def test_flags_say_what_to_beware_of(geometry: Geometry, task: Task) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[0:4, 3:6, 3:6] = 2  # at the border
    array[7:10, 3:6, 3:6] = 2  # as it should be
    array[7:9, 8:11, 8:11] = 2  # two voxels along i
    image = np.random.default_rng(0).normal(0, 1, SHAPE)
    image[array == 2] += 5
    image[7:10, 3:6, 3:6] -= 5  # no brighter than what lies around
    findings = measure_findings(LabelMap(array, geometry, task.label_schema), task, Volume(image, geometry, "HU"))
    assert [finding.flags for finding in findings] == [
        ("touches_border",), ("low_contrast",), ("too_small_for_spacing",),
    ]  # fmt: skip
    without_image = measure_findings(LabelMap(array, geometry, task.label_schema), task)
    assert [finding.flags for finding in without_image] == [("touches_border",), (), ("too_small_for_spacing",)]


def test_touching_lesions_are_parted_where_the_task_says_so(task: Task) -> None:
    grid = np.moveaxis(np.indices((50, 30, 30)), 0, -1)
    array = np.zeros((50, 30, 30), np.uint8)
    for x in (15, 30):
        array[((grid - (x, 15, 15)) ** 2).sum(-1) <= 81] = 2
    array[45:48, 1:4, 1:4] = 2
    label_map = LabelMap(array, Geometry.from_spacing((50, 30, 30), (1.0, 1.0, 1.0)), task.label_schema)
    every = task.model_copy(update={"min_finding_ml": 0.0})
    assert len(measure_findings(label_map, every)) == 2
    parted = measure_findings(label_map, every.model_copy(update={"split_depth_mm": 2.0}))
    assert [finding.flags for finding in parted] == [("split_from_neighbour",), ("split_from_neighbour",), ()]
    assert [finding.centroid_mm[0] for finding in parted[:2]] == pytest.approx([15, 30], abs=0.5)
    assert sum(finding.value("volume") or 0 for finding in parted) == pytest.approx((array > 0).sum() / 1000)


def test_shape_and_uptake_only_where_asked_for_and_known(
    array: NDArray[np.uint8], geometry: Geometry, task: Task
) -> None:
    pet = task.model_copy(update={"measurements": ("volume", "shape", "uptake")})
    image = np.where(array == 2, 4.0, 1.0)
    label_map = LabelMap(array, geometry, task.label_schema)
    in_suv = measure_findings(label_map, pet, Volume(image, geometry, "SUVbw"))[1]
    assert in_suv.value("total_lesion_glycolysis") == pytest.approx(4.0 * 0.12)
    assert in_suv.value("metabolic_volume") == pytest.approx(0.12)
    peak = in_suv.value("suv_peak")
    assert peak is not None
    assert 1.0 < peak < 4.0
    assert in_suv.value("sphericity") is not None
    in_counts = measure_findings(label_map, pet, Volume(image, geometry, "arbitrary"))[1]
    assert {m.name for m in in_counts.measurements} == {"volume", "surface", "sphericity"}


def test_probabilities_give_intervals_around_the_values(
    array: NDArray[np.uint8], geometry: Geometry, task: Task
) -> None:
    label_map = LabelMap(array, geometry, task.label_schema)
    probability = np.where(array == 2, 0.8, 0.0)
    probability[8, 8, 8] = 1.0
    probability[7, 8:11, 8:10] = 0.1
    given = ProbabilityMap.of(Volume(probability, geometry))
    agreement = ProbabilityMap.of(Volume(np.where(array == 2, 0.6, 0.9), geometry))
    lesion = measure_findings(label_map, task, probabilities=Probabilities({"lesion": given}, agreement))[1]
    measured = {measurement.name: measurement for measurement in lesion.measurements}
    assert measured["volume"].interval == pytest.approx((0.01, 0.18))
    low, high = measured["longest_axial_diameter"].interval or (0, 0)
    assert low == pytest.approx(2.0)
    assert low < measured["longest_axial_diameter"].value < high
    assert measured["mean_probability"].value == pytest.approx((11 * 0.8 + 1) / 12)
    assert measured["agreement"].value == pytest.approx(0.6)
    elsewhere = ProbabilityMap(given.array, Geometry.from_spacing(SHAPE, (1, 1, 1)))
    for strange, named in ((Probabilities({"lesion": elsewhere}), "lesion"), (Probabilities({}, elsewhere), "answers")):
        with pytest.raises(GeometryError, match=named):
            measure_findings(label_map, task, probabilities=strange)
    alone = measure_findings(label_map, task, probabilities=Probabilities({"lesion": given}))[1]
    assert alone.value("agreement") is None
