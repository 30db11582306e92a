"""A trained model handed on: MONAI's steps find the same ball, and the command line says how well it agrees."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser

from medseg.cli import app
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_label_map
from medseg.models.inference.ensemble import save_ensemble
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.workflows.models.export_model import export_monai
from medseg.workflows.training.train_model import TrainedModel


@pytest.mark.filterwarnings("ignore:NvImgCodec:UserWarning")  # MONAI looks for a decoder that nobody asked for
def test_monais_steps_find_the_ball_of_a_scan_that_must_be_turned_and_resampled(
    trained: TrainedModel, ball_image: Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]], tmp_path: Path
) -> None:
    exported, notes = export_monai(trained.folder, tmp_path / "m")
    assert (exported.score_difference, notes) == (0.0, ())
    upright = Geometry.from_spacing((30, 27, 24), (1.6, 1.6, 2.0), (-23.0, 2.0, 27.0))
    image, _ = ball_image(upright, 9)
    scan = Volume(image, upright).reoriented("PIR")
    write_nifti(scan.array, scan.geometry, tmp_path / "scans" / "a.nii.gz")

    config = ConfigParser(json.loads((tmp_path / "m/configs/inference.json").read_text()))
    config["dataset_dir"], config["output_dir"] = str(tmp_path / "scans"), str(tmp_path / "masks")
    network = config.get_parsed_content("network_def")
    network.load_state_dict(torch.load(tmp_path / "m/models/model.pt", weights_only=True))
    case = config.get_parsed_content("dataset")[0]
    whole = config.get_parsed_content("network").eval()
    with torch.no_grad():
        case["pred"] = config.get_parsed_content("inferer")(case["image"][None], whole)[0]
    config.get_parsed_content("postprocessing")(case)

    theirs = read_label_map(tmp_path / "masks" / "a_segmentation.nii.gz", trained.bundle.spec.task.label_schema)
    name = trained.bundle.spec.task.channels[0].name
    ours = NetworkSegmenter(trained.bundle, torch.device("cpu")).segment({name: scan}).label_map
    assert theirs.geometry.difference(ours.geometry) is None
    both = int(((theirs.array > 0) & (ours.array > 0)).sum())
    dice = 2 * both / int((theirs.array > 0).sum() + (ours.array > 0).sum())
    assert both > 400  # the ball has 9 mm radius: 596 voxels
    assert dice > 0.97  # 0.984: other window positions and another phase of the resampled grid


def test_of_an_ensemble_one_member_is_exported(trained: TrainedModel, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "both", {"fold_0": trained.bundle})
    with pytest.raises(InputError, match=r"both is an ensemble; export one of the models in its folder: fold_0"):
        export_monai(tmp_path / "both", tmp_path / "m")
    export_monai(tmp_path / "both" / "fold_0", tmp_path / "m")


def test_the_command_line_prints_how_well_it_agrees(trained: TrainedModel, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["export", str(trained.folder), "--to", "monai", "-o", str(tmp_path / "m.zip")])
    assert done.exit_code == 0, done.output
    assert "monai.networks.nets.DynUNet" in done.output
    assert "largest difference of a score" in done.output
    assert (tmp_path / "m.zip").is_file()
