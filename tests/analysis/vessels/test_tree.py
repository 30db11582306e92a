"""Trees from masks: forks, generations, spurs, rings, and how they are written."""

import csv
import io

import numpy as np
import pytest

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.analysis.vessels.planar_reformation import cross_sections, curved, straightened
from medseg.analysis.vessels.tree.branches import smoothed, tree_of
from medseg.analysis.vessels.tree.skeleton import skeleton_graph
from medseg.analysis.vessels.tree_text import tree_as_csv, tree_as_swc, tree_as_vtk
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.tubes import Tube, resampled
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch

GRID = Geometry.from_spacing((70, 70, 90), (0.5, 0.5, 0.5), (-17.25, -17.25, -22.25))


def tube(start: tuple[float, float, float], stop: tuple[float, float, float], radius_mm: float) -> DiseasedBranch:
    points = resampled(np.array([start, stop]))
    return DiseasedBranch(
        None, Tube(points, np.full(len(points), radius_mm)), np.full(len(points), radius_mm), np.zeros_like(points),
        np.zeros(len(points)),
    )  # fmt: skip


FORK = [
    tube((0, 0, -20), (0, 0, 0), 2.2),
    tube((0, 0, 0), (11, 0, 17), 1.7),
    tube((0, 0, 0), (-11, 0, 17), 1.7),
]


@pytest.fixture(scope="module")
def fork() -> Volume:
    lumen = vessel_coverage(FORK, GRID).lumen
    return Volume(Acquisition(point_spread_mm=0.4).blurred(lumen, GRID), GRID)


def test_a_fork_has_a_parent_and_two_children(fork: Volume) -> None:
    tree = analyse_vessels(fork).tree
    assert [branch.parent for branch in tree.branches] == [None, 0, 0]
    assert [branch.generation for branch in tree.branches] == [0, 1, 1]
    assert tree.children(0) == (1, 2)
    np.testing.assert_allclose(tree.branches[0].points_mm[-1], [0, 0, 0], atol=1.5)
    for child in tree.branches[1:]:
        np.testing.assert_allclose(child.points_mm[0], tree.branches[0].points_mm[-1])
        assert child.tortuosity == pytest.approx(1, abs=0.05)


def test_calibres_of_a_fork(fork: Volume) -> None:
    analysis = analyse_vessels(fork)
    widths = [float(np.median(2 * lumen.radius_mm)) for lumen in analysis.lumens.profiles]
    assert widths == pytest.approx([4.4, 3.4, 3.4], abs=0.1)
    assert analysis.report.blockages == ()


def test_a_bump_on_the_wall_is_no_branch() -> None:
    mask = np.zeros((40, 40, 80), dtype=bool)
    i, j = np.indices((40, 40)) - 19.5
    mask[:, :, 5:75] = (np.hypot(i, j) < 5)[:, :, None]
    mask[19:22, 24:27, 38:41] = True
    graph = skeleton_graph(mask, Geometry.from_spacing((40, 40, 80), (0.5, 0.5, 0.5)), 1.0)
    assert len(graph.edges) == 1


def test_a_ring_in_the_tree_is_kept() -> None:
    mask = np.zeros((90, 60, 20), dtype=bool)
    i, j, k = np.indices(mask.shape) - np.array([29.5, 29.5, 9.5])[:, None, None, None]
    mask |= (np.hypot(i, j) - 20) ** 2 + k**2 < 3**2
    mask |= (i > 18) & (i < 58) & (j**2 + k**2 < 3**2)
    tree = tree_of(skeleton_graph(mask, Geometry.from_spacing((90, 60, 20), (0.5, 0.5, 0.5)), 1.0), 0.5)
    assert tree.length_mm == pytest.approx(0.5 * (2 * np.pi * 20 + 37), rel=0.1)


def test_an_empty_mask_has_no_graph() -> None:
    geometry = Geometry.from_spacing((5, 5, 5), (1, 1, 1))
    assert skeleton_graph(np.zeros((5, 5, 5), dtype=bool), geometry, 1.0).edges == {}


def test_smoothing_keeps_the_ends_and_a_straight_line() -> None:
    line = np.stack([np.linspace(0, 20, 21), np.zeros(21), np.zeros(21)], axis=1)
    smooth = smoothed(line, 0.5)
    np.testing.assert_allclose(smooth[[0, -1]], line[[0, -1]], atol=1e-6)
    np.testing.assert_allclose(smooth[:, 1:], 0, atol=1e-9)
    np.testing.assert_allclose(np.diff(smooth[:, 0]), 0.5, atol=0.02)


def test_the_tree_is_written_for_others(fork: Volume) -> None:
    analysis = analyse_vessels(fork)
    count = sum(len(branch.points_mm) for branch in analysis.tree.branches)
    rows = list(csv.DictReader(io.StringIO(tree_as_csv(analysis.tree, analysis.lumens))))
    assert len(rows) == count
    swc = [line.split() for line in tree_as_swc(analysis.tree, analysis.lumens).splitlines()[1:]]
    assert len(swc) == count
    assert [row[6] for row in swc].count("-1") == 1
    assert all(int(row[6]) < int(row[0]) for row in swc)
    vtk = tree_as_vtk(analysis.tree, analysis.lumens).splitlines()
    assert vtk[3] == "DATASET POLYDATA"
    assert f"POINTS {count} double" in vtk
    assert float(vtk[5].split()[0]) == pytest.approx(-analysis.lumens.profiles[0].points_mm[0][0], abs=1e-3)


def test_a_straightened_vessel_runs_down_the_middle(fork: Volume) -> None:
    lumen = analyse_vessels(fork).lumens.profiles[0]
    unrolled = straightened(fork, lumen.points_mm, half_width_mm=5, step_mm=0.25)
    middle = unrolled.picture[:, unrolled.picture.shape[1] // 2]
    assert (middle[4:-4] > 0.9).all()
    width_mm = (unrolled.picture[len(middle) // 2] > 0.5).sum() * unrolled.step_mm
    assert width_mm == pytest.approx(4.4, abs=0.4)
    assert unrolled.arc_mm[-1] == pytest.approx(lumen.arc_mm[-1], abs=0.3)


def test_a_curved_sheet_shows_the_vessel_where_it_is(fork: Volume) -> None:
    lumen = analyse_vessels(fork).lumens.profiles[1]
    sheet = curved(fork, lumen.points_mm, direction=(1, 0, 0))
    rows = np.arange(len(sheet.picture))
    along = sheet.picture[rows, np.round(sheet.column).astype(int)]
    assert (along[4:-4] > 0.9).all()
    assert np.ptp(sheet.column) * sheet.step_mm == pytest.approx(np.ptp(lumen.points_mm[:, 0]), abs=1.0)


def test_cross_sections_are_centred_discs(fork: Volume) -> None:
    lumen = analyse_vessels(fork).lumens.profiles[0]
    sections = cross_sections(fork, lumen, np.array([5.0, 9.0]), half_width_mm=4, step_mm=0.2)
    for section in sections:
        assert (section > 0.5).sum() * 0.04 == pytest.approx(np.pi * 2.2**2, rel=0.06)


def test_a_picture_needs_a_line(fork: Volume) -> None:
    with pytest.raises(InputError, match="at least two points"):
        straightened(fork, np.zeros((1, 3)))
