"""A vessel with a narrowing of known degree, from a file to the graded list, and what cannot be graded."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.analysis.vessels.findings.report import VesselReport
from medseg.cli import app
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.report import Report
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.tubes import Tube, bezier
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch
from medseg.datasets.phantoms.vessels.study import make_vessel_study
from medseg.exchange.read import read_label_map, read_scan
from medseg.exchange.write import write_volume
from medseg.models.bundle import Provenance, save_bundle
from medseg.models.spec import ModelSpec
from medseg.models.store import load_model
from medseg.models.weights import weights_of
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.results.open_vessels import open_vessels
from medseg.workflows.results.vessel_pages import first_page
from medseg.workflows.segmenting.find_blockages import find_blockages, find_blockages_of_scan
from medseg.workflows.segmenting.segment_study import segment_study

SHAPE, SPACING_MM = (60, 60, 100), (0.4, 0.4, 0.5)
PERCENT, MIDDLE_MM, LENGTH_MM = 60.0, 22.0, 10.0


def vessel() -> Volume:
    """A bent vessel of 3.2 mm, 44 mm long, with a narrowing of 60 % half-way: its blurred share of each voxel."""
    affine = np.diag((*SPACING_MM, 1.0))
    affine[:3, 3] = -np.array(SPACING_MM) * (np.array(SHAPE) - 1) / 2
    geometry = Geometry(SHAPE, affine)
    points = bezier(np.array([[-3.0, 0.0, -21.0], [6.0, 5.0, 0.0], [-3.0, -2.0, 21.0]]))
    tube = Tube(points, np.full(len(points), 1.6))
    profile = narrowing_profile((tube.arc_mm - MIDDLE_MM) / (LENGTH_MM / 2), 0.3)
    branch = DiseasedBranch(
        None,
        tube,
        tube.radii_mm * (1 - PERCENT / 100 * profile),
        np.zeros_like(tube.points_mm),
        np.zeros(len(tube.points_mm)),
    )
    lumen = vessel_coverage([branch], geometry).lumen
    return Volume(Acquisition(point_spread_mm=0.4).blurred(lumen, geometry).astype(np.float32), geometry)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the soft map, its mask as label 7 beside a label 3 elsewhere, and an image in HU."""
    folder = tmp_path_factory.mktemp("vessel")
    soft = vessel()
    write_volume(soft, folder / "map.nii.gz")
    mask = np.where(soft.array >= 0.5, 7, 0).astype(np.uint8)
    mask[:4, :4, :4] = 3
    write_volume(Volume(mask, soft.geometry), folder / "mask.nii.gz")
    write_volume(Volume((20 + 380 * soft.array).astype(np.float32), soft.geometry), folder / "image.nii.gz")
    return folder


def test_a_known_narrowing_is_found_graded_and_painted(files: Path, tmp_path: Path) -> None:
    report = find_blockages(files / "map.nii.gz", tmp_path / "out")
    (blockage,) = report.blockages
    assert blockage.diameter_percent == pytest.approx(PERCENT, abs=3)
    assert blockage.cad_rads == report.cad_rads == "3"
    out = tmp_path / "out"
    names = [
        "blockages.csv",
        "blockages.nii.gz",
        "branches.csv",
        "scan.json",
        "tree.csv",
        "tree.swc",
        "tree.vtk",
        "vessels.json",
        "vessels.pdf",
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    assert VesselReport.model_validate_json((out / "vessels.json").read_text()) == report
    with (out / "blockages.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["diameter_percent"]) == pytest.approx(blockage.diameter_percent, abs=0.05)
    low, area, high = (float(row[name]) for name in ("low_area_percent", "area_percent", "high_area_percent"))
    assert area == pytest.approx(blockage.area_percent, abs=0.05)
    assert low < area < high
    with (out / "branches.csv").open() as file:
        branches = list(csv.DictReader(file))
    assert [(one["branch"], one["blockages"], one["not_assessable"]) for one in branches] == [("0", "1", "")]
    said = json.loads((out / "vessels.json").read_text())
    assert said["count_by_branch"] == {"0": 1}
    assert said["blockages"][0]["cad_rads"] == "3"
    painted = read_scan(out / "blockages.nii.gz").volume
    where = painted.geometry.world(np.argwhere(painted.array == 1))
    assert np.linalg.norm(where.mean(axis=0) - blockage.centre_mm) < 1.5
    assert np.ptp(where[:, 2]) == pytest.approx(blockage.length_mm, abs=2)
    assert (out / "vessels.pdf").read_bytes().startswith(b"%PDF")
    again = find_blockages(files / "map.nii.gz", out)
    assert again == report


def test_a_mask_says_which_label_and_takes_calibres_from_the_image(files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a mask with the labels 3, 7\. Say which of them are vessel"):
        find_blockages(files / "mask.nii.gz", tmp_path / "out")
    report = find_blockages(files / "mask.nii.gz", tmp_path / "out", labels=(7,), image=files / "image.nii.gz")
    assert report.source == "image"
    assert report.blockages[0].diameter_percent == pytest.approx(PERCENT, abs=5)
    alone = find_blockages(files / "mask.nii.gz", tmp_path / "alone", labels=(7,))
    assert alone.source == "mask"
    assert {blockage.confidence for blockage in alone.blockages} == {"review"}
    assert alone.cad_rads == "N"
    assert "no category is given" in alone.warnings[0]


def test_a_scan_is_looked_through_without_a_map(files: Path, tmp_path: Path) -> None:
    image = read_scan(files / "image.nii.gz").volume
    noise = np.random.default_rng(1).normal(0, 12, SHAPE)
    write_volume(Volume((image.array + noise).astype(np.float32), image.geometry), tmp_path / "scan.nii.gz")
    report = find_blockages(tmp_path / "scan.nii.gz", tmp_path / "out", is_scan=True)
    assert report.source == "image"
    assert [one.diameter_percent for one in report.blockages] == pytest.approx([PERCENT], abs=8)


def test_veins_are_not_graded_as_arteries_are(files: Path, tmp_path: Path) -> None:
    report = find_blockages(files / "map.nii.gz", tmp_path / "out", kind="vein")
    assert report.cad_rads is None
    with (tmp_path / "out" / "blockages.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["cad_rads"], row["nascet"]) == ("", "")
    assert float(row["low_mm"]) <= float(row["minimal_diameter_mm"]) <= float(row["high_mm"])


def test_a_mask_without_a_vessel_is_not_assessable(files: Path, tmp_path: Path) -> None:
    soft = read_scan(files / "map.nii.gz").volume
    write_volume(Volume(np.zeros(SHAPE, np.uint8), soft.geometry), tmp_path / "empty.nii.gz")
    report = find_blockages(tmp_path / "empty.nii.gz", tmp_path / "out")
    assert report.not_assessable is not None
    assert report.blockages == ()
    assert report.cad_rads == "N"
    assert (tmp_path / "out" / "vessels.pdf").exists()
    said = CliRunner().invoke(app, ["vessels", str(tmp_path / "empty.nii.gz"), "--output", str(tmp_path / "again")])
    assert said.output.rstrip().endswith("blockages: not assessable")


def test_an_image_without_contrast_is_not_assessable(files: Path, tmp_path: Path) -> None:
    grid = read_scan(files / "map.nii.gz").volume.geometry
    noise = np.random.default_rng(2).normal(40, 15, SHAPE).astype(np.float32)
    write_volume(Volume(noise, grid), tmp_path / "flat.nii.gz")
    report = find_blockages(files / "map.nii.gz", tmp_path / "out", image=tmp_path / "flat.nii.gz", prefer_image=True)
    assert report.not_assessable is not None
    assert "no contrast" in report.not_assessable
    assert report.blockages == ()
    assert (tmp_path / "out" / "tree.vtk").exists()


def test_what_does_not_fit_is_refused_and_leaves_nothing(files: Path, tmp_path: Path) -> None:
    soft = read_scan(files / "map.nii.gz").volume
    elsewhere = Geometry.from_spacing(SHAPE, SPACING_MM, (9.0, 0.0, 0.0))
    write_volume(Volume(soft.array, elsewhere), tmp_path / "moved.nii.gz")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(GeometryError, match="image and the vessel map"):
        find_blockages(files / "map.nii.gz", tmp_path / "out", image=tmp_path / "moved.nii.gz")
    with pytest.raises(InputError, match="has no label 9; it holds 3, 7"):
        find_blockages(files / "mask.nii.gz", tmp_path / "out", labels=(9,))
    with pytest.raises(InputError, match="leave the labels out"):
        find_blockages(files / "map.nii.gz", tmp_path / "out", labels=(1,))
    with pytest.raises(InputError, match="there is no image to take the calibres from"):
        find_blockages(files / "map.nii.gz", tmp_path / "out", prefer_image=True)
    with pytest.raises(InputError, match="looked through by itself"):
        find_blockages(files / "image.nii.gz", tmp_path / "out", image=files / "image.nii.gz", is_scan=True)
    with pytest.raises(InputError, match="will not be overwritten"):
        find_blockages(files / "map.nii.gz", tmp_path / "taken")
    assert not (tmp_path / "out").exists()


def test_a_model_finds_the_vessels_in_the_scan_and_blockages_become_findings(tmp_path: Path) -> None:
    study = make_vessel_study(10001, "carotid")
    write_volume(study.volume, tmp_path / "cta.nii.gz")
    report = find_blockages_of_scan(tmp_path / "cta.nii.gz", load_model("vessels_cta"), tmp_path / "out")
    assert report.source == "image"
    assert report.blockages
    assert "look at each blockage" in report.warnings[0]
    written = Report.model_validate_json((tmp_path / "out/report.json").read_bytes())
    vessel_seen, *blockages = written.findings
    assert vessel_seen.label.name == "vessel"
    assert [one.value("diameter_stenosis") for one in blockages] == [one.diameter_percent for one in report.blockages]
    doubted = [one.flags == ("for_review",) for one in blockages]
    assert doubted == [one.confidence == "review" for one in report.blockages]
    assert any(doubted)
    mask = read_label_map(tmp_path / "out/segmentation.nii.gz", written.task.label_schema)
    assert {mask.array[one.index] for one in blockages} == {written.task.labels[-1].index}
    found, true = mask.array > 0, study.lumen
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.7
    assert {entry.kind for entry in list_studies(tmp_path / "out")} == {"result", "vessels"}
    assert open_vessels(tmp_path / "out").report == report


def test_a_batch_grades_the_blockages_of_each_scan(files: Path, tmp_path: Path) -> None:
    image = read_scan(files / "image.nii.gz").volume
    (tmp_path / "in").mkdir()
    for name, seed in (("one", 1), ("two", 2)):
        noise = np.random.default_rng(seed).normal(0, 12, SHAPE)
        write_volume(Volume((image.array + noise).astype(np.float32), image.geometry), tmp_path / f"in/{name}.nii.gz")
    said = CliRunner().invoke(app, ["batch", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "vessels_cta"])
    assert said.exit_code == 0, said.output
    for name in ("one", "two"):
        result = tmp_path / "out/results" / name
        report = VesselReport.model_validate_json((result / "vessels.json").read_bytes())
        assert report.not_assessable is None
        assert any(abs(one.diameter_percent - PERCENT) < 15 for one in report.blockages)
        written = Report.model_validate_json((result / "report.json").read_bytes())
        blockages = [one for one in written.findings if one.label.kind == "blockage"]
        assert len(blockages) == len(report.blockages)
        assert (result / "vessels.pdf").is_file()


def test_a_model_that_looks_for_no_blockages_is_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not look for blockages.*Take vessels_cta"):
        find_blockages_of_scan(files / "image.nii.gz", load_model("hippocampus_mr"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_page_tells_not_assessable_from_healthy_and_counts_by_branch(files: Path) -> None:
    sick = read_scan(files / "map.nii.gz").volume
    empty = Volume(np.zeros(SHAPE, np.float32), sick.geometry)
    narrowed, nothing = (
        texts(first_page(analyse_vessels(volume), "Vessels", datetime(2026, 1, 1, tzinfo=UTC)))
        for volume in (sick, empty)
    )
    assert "blockages by branch: 0: 1" in narrowed
    assert "assessable" not in narrowed
    assert "Not assessable: whether there are blockages cannot be said." in nothing
    assert "No blockage" not in nothing


def test_a_model_is_given_the_ostia_and_names_the_segments(files: Path, tmp_path: Path) -> None:
    image = read_scan(files / "image.nii.gz").volume
    noise = np.random.default_rng(1).normal(0, 12, SHAPE)
    write_volume(Volume((image.array + noise).astype(np.float32), image.geometry), tmp_path / "cta.nii.gz")
    command = ["vessels", str(tmp_path / "cta.nii.gz"), "--model", "vessels_cta", "--output", str(tmp_path / "out")]
    plain = CliRunner().invoke(app, command)
    assert plain.exit_code == 0, plain.output
    before = open_vessels(tmp_path / "out")
    start = [f"{x:.2f}" for x in before.lumen(before.report.blockages[0].branch).points_mm[0]]
    said = CliRunner().invoke(app, [*command, "--left-ostium", *start, "--right-ostium", "90", "0", "0"])
    assert said.exit_code == 0, said.output
    report = VesselReport.model_validate_json((tmp_path / "out/vessels.json").read_bytes())
    assert report.branch_name(report.blockages[0].branch) == "5 left main"
    assert (before.report.cad_rads, report.cad_rads) == ("3", "4B")
    written = Report.model_validate_json((tmp_path / "out/report.json").read_bytes())
    assert [grade.category for grade in written.grades] == ["4B"]
    with (tmp_path / "out/findings.csv").open() as file:
        rows = {(row["label"], row["measurement"]): row["value"] for row in csv.DictReader(file)}
    assert rows["blockage", "cad_rads"] == "3"
    assert rows["", "cad_rads"] == "4B"


def test_a_coronary_model_that_sees_no_vessel_calls_nothing_absent(
    files: Path, tmp_path: Path, spec: ModelSpec, provenance: Provenance
) -> None:
    coronary = spec.model_copy(update={"task": load_task("coronary_cta")})
    blind = weights_of(coronary.network.build(1, coronary.class_count))
    blind["network.output_block.conv.conv.weight"].zero_()
    blind["network.output_block.conv.conv.bias"].copy_(torch.tensor([5.0, -5.0]))
    model = save_bundle(tmp_path / "coronary", coronary, blind, provenance, None)
    report = segment_study({"CT": files / "image.nii.gz"}, model, tmp_path / "out")
    assert report.findings == ()
    assert "no vessel" in report.not_assessable["blockage"]
    assert [(grade.category, grade.code.value) for grade in report.grades] == [("N", "130731")]
    assert Report.model_validate_json((tmp_path / "out/report.json").read_bytes()) == report
    with (tmp_path / "out/findings.csv").open() as file:
        rows = {(row["label"], row["measurement"]): row["value"] for row in csv.DictReader(file)}
    assert rows["blockage", "not_assessable"] == report.not_assessable["blockage"]
    assert rows["", "cad_rads"] == "N"


@pytest.mark.parametrize(("axis", "letter"), [(0, "R"), (1, "A")])
def test_right_and_front_of_the_drawn_tree_lie_where_their_letter_is(files: Path, axis: int, letter: str) -> None:
    analysis = analyse_vessels(read_scan(files / "map.nii.gz").volume)
    page = first_page(analysis, "Vessels", datetime(2026, 1, 1, tzinfo=UTC))
    drawn = next(one for one in page.axes if one.get_xlabel() == f"{'xyz'[axis]} mm")
    points = np.concatenate([profile.points_mm for profile in analysis.lumens.profiles])
    most = points[points[:, axis].argmax()]  # RAS+: right and front are where x and y are largest
    least = points[points[:, axis].argmin()]
    seen = [drawn.transData.transform((place[axis], place[2]))[0] for place in (most, least)]
    at = next(text for text in drawn.texts if text.get_text() == letter)
    letter_x = drawn.transAxes.transform(at.get_position())[0]
    assert abs(letter_x - seen[0]) < abs(letter_x - seen[1])
