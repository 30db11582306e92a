"""The gate lets through scans like those it knows, and flags each change on the side where it was made."""

import numpy as np
import pytest
from scipy import ndimage

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.models.quality.input_gate import InputGate, Side, scan_features

SHAPE = (36, 48, 32)


def head(seed: int) -> Volume:
    """A smooth ball off the middle in front, with some texture; people differ a little."""
    generator = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    centre = np.array([14, 30, 18]) + generator.normal(0, 1, 3)
    ball = np.exp(-((np.linalg.norm(index - centre, axis=-1) / (12 + generator.normal(0, 0.5))) ** 4))
    texture = ndimage.gaussian_filter(generator.normal(size=SHAPE), 1.5)
    spacing = tuple(1 + generator.normal(0, 0.01, 3))
    return Volume((400 * ball + 100 * texture + 50).astype(np.float32), Geometry.from_spacing(SHAPE, spacing))


@pytest.fixture(scope="module")
def gate() -> InputGate:
    return InputGate.fit([scan_features(head(seed)) for seed in range(30)])


def flagged(gate: InputGate, volume: Volume) -> set[Side]:
    return {side for side, distance in gate.distances(scan_features(volume)).items() if distance >= 1}


def test_scans_of_the_known_kind_pass(gate: InputGate) -> None:
    assert sum(bool(flagged(gate, head(seed))) for seed in range(100, 140)) <= 4


def test_the_order_in_which_axes_are_stored_does_not_matter(gate: InputGate) -> None:
    one, turned = (gate.distances(scan_features(volume)) for volume in (head(200), head(200).reoriented("PIL")))
    assert one == pytest.approx(turned)


def test_each_change_is_flagged_where_it_was_made(gate: InputGate) -> None:
    known = head(201)
    array, grid = known.array, known.geometry
    noisy = array + np.random.default_rng(0).normal(0, 60, SHAPE).astype(np.float32)
    assert "layout" in flagged(gate, Volume(array[:, ::-1].copy(), grid))
    assert "field of view" in flagged(gate, Volume(array[:18], Geometry.from_spacing((18, 48, 32), grid.spacing_mm)))
    assert "voxel size" in flagged(gate, Volume(array, Geometry.from_spacing(SHAPE, (2.0, 2.0, 2.0))))
    assert "noise" in flagged(gate, Volume(noisy, grid))
    assert "grey values" in flagged(gate, Volume(array - 1000, grid))


def test_a_warning_names_the_side(gate: InputGate) -> None:
    far: dict[Side, float] = {"voxel size": 3.25, "noise": 0.2}
    (warning,) = gate.warnings(far)
    assert warning.startswith("this scan is unlike the 30 that the model learned from, in voxel size (3.2 times the")
    assert gate.warnings({"noise": 0.99}) == ()


def test_a_constant_scan_has_features() -> None:
    flat = scan_features(Volume(np.zeros((4, 4, 4), np.float32), Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))))
    assert all(np.isfinite(values).all() for values in flat.values())


def test_too_few_scans_are_a_sentence() -> None:
    with pytest.raises(InputError, match="7 scans are too few"):
        InputGate.fit([scan_features(head(seed)) for seed in range(7)])
