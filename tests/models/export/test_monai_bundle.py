"""A MONAI Bundle: MONAI's own loader runs it, and finds what medseg finds."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.errors import InputError, PlanError, StoreError
from medseg.core.geometry import Geometry
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_label_map
from medseg.imaging.preparing.normalize import FixedScale, ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.imaging.regions.islands import KeepLargest
from medseg.models.bundle import ModelBundle
from medseg.models.export import monai_bundle
from medseg.models.export.monai_bundle import write_monai_bundle
from medseg.models.export.record import not_carried
from medseg.models.inference import sliding_window
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow, from_toml
from medseg.models.trained_network import biased, trained_network

STAGES = {
    "channels": (4, 4, 6),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    "kernel_sizes": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
}
MakeBundle = Callable[..., ModelBundle]


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> ModelBundle:
    return make_bundle(UNet3DConfig(**STAGES, deep_supervision=1))


def targets(config: object) -> set[str]:
    """Every class that a config names."""
    if isinstance(config, list):
        return set().union(*map(targets, config))
    if isinstance(config, dict):
        return {config["_target_"]} if "_target_" in config else set().union(*map(targets, config.values()))
    return set()


def test_it_names_only_classes_that_others_have_and_says_which_model_it_is(bundle: ModelBundle, tmp_path: Path) -> None:
    exported = write_monai_bundle(bundle, tmp_path / "m")
    assert (exported.network, exported.score_difference) == ("monai.networks.nets.DynUNet", 0.0)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"m/configs/metadata.json", "m/configs/inference.json", "m/models/model.pt", "m/docs/README.md"}
    inference = (tmp_path / "m/configs/inference.json").read_text()
    assert "medseg" not in inference
    assert "torch.nn.Softmax" in targets(json.loads(inference))
    told = json.loads((tmp_path / "m/configs/metadata.json").read_text())
    assert told["medseg"]["medseg.bundle_sha256"] == bundle.sha256
    assert from_toml(ModelSpec, told["medseg"]["medseg.spec_toml"], "metadata.json") == bundle.spec
    assert told["network_data_format"]["outputs"]["pred"]["channel_def"]["2"] == bundle.spec.task.labels[1].name
    loaded = torch.load(tmp_path / "m/models/model.pt", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in loaded.values())


def test_a_zip_holds_the_same_files_below_one_folder(bundle: ModelBundle, tmp_path: Path) -> None:
    write_monai_bundle(bundle, tmp_path / "m")
    write_monai_bundle(bundle, tmp_path / "m.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.zip"]
    with zipfile.ZipFile(tmp_path / "m.zip") as packed:
        assert len(packed.namelist()) == 4
        for name in packed.namelist():
            if not name.endswith(".pt"):
                assert packed.read(name) == (tmp_path / name).read_bytes()


def test_another_network_is_refused_with_what_to_do(make_bundle: MakeBundle, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"tiny is a fcn, which MONAI does not have.*--to onnx"):
        write_monai_bundle(make_bundle(FCNConfig(**STAGES)), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_an_older_export_is_replaced_and_other_files_are_left_alone(bundle: ModelBundle, tmp_path: Path) -> None:
    write_monai_bundle(bundle, tmp_path / "m")
    write_monai_bundle(bundle, tmp_path / "m")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds other files and will not be overwritten"):
        write_monai_bundle(bundle, tmp_path / "mine")


def test_a_config_that_makes_another_network_is_not_delivered(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*arguments: object) -> float:
        return 0.5

    monkeypatch.setattr(monai_bundle, "_score_difference", other)
    with pytest.raises(StoreError, match=r"is not delivered: the network of its config differs from medseg's by 0\.5"):
        write_monai_bundle(bundle, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_carried_is_said(bundle: ModelBundle) -> None:
    assert not_carried(bundle.spec) == ()
    window = SlidingWindow(patch=(16, 16, 16), mirror_axes=(0, 2))
    spec = bundle.spec.model_copy(update={"window": window, "refinement": (KeepLargest(),)})
    mirrored, refined = not_carried(spec)
    assert "mirrored along i, k" in mirrored
    assert "(keep_largest)" in refined


WITHOUT_MEDSEG = """
import sys
sys.modules["medseg"] = None  # an import of it would fail
import numpy, torch
from monai.bundle import load, run
folder, window, scores = sys.argv[1:]
run(config_file=f"{folder}/m/configs/inference.json", bundle_root=f"{folder}/m", dataset_dir=f"{folder}/scans",
    output_dir=f"{folder}/masks", device="cpu")
network = load("m", bundle_dir=folder, workflow_type="inference", device="cpu").eval()
with torch.no_grad():
    numpy.save(scores, network(torch.from_numpy(numpy.load(window))).numpy())
"""


def test_monai_runs_it_on_several_channels_and_any_label_values(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("ignite") is None:
        pytest.skip("MONAI's evaluator needs pytorch-ignite: pip install pytorch-ignite")
    task = load_task("brain_tumour_mr")
    values = (1, 7, 300)
    labels = [label.model_copy(update={"index": n}) for label, n in zip(task.labels, values, strict=True)]
    task = task.model_copy(update={"labels": tuple(labels), "channels": task.channels[:2]})
    scale = FixedScale(lower=-150, upper=250, mean=20, sd=80)
    bundle = make_bundle(
        UNet3DConfig(**STAGES),
        task=task.model_dump(),
        preparation=Preparation(spacing_mm=(2.0, 1.5, 1.5), normalization=(scale, ZScore())).model_dump(),
        window={"patch": (12, 24, 16)},
        foreground_bias=-0.1,
    )
    assert write_monai_bundle(bundle, tmp_path / "m").score_difference < 1e-5
    # stored towards left, posterior and superior; smaller than the window along j; no more than 1 % off its spacing
    geometry = Geometry.from_spacing((12, 14, 16), (2.01, 1.5, 1.5), (-20.0, 7.0, 3.0))
    stored = geometry.reoriented(geometry.reorientation_to("LPS"))
    generator = np.random.default_rng(3)
    images = {}
    for channel in task.channels:
        blobs = np.kron(generator.normal(size=(5, 4, 5)), np.ones((4, 4, 4)))[:12, :14, :16]
        images[channel.name] = Volume((100 * blobs).astype(np.float32), stored)
        write_nifti(images[channel.name].array, stored, tmp_path / "scans" / f"case_1_{channel.name}.nii.gz")

    window = torch.randn(1, 2, *bundle.spec.window.patch, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "window.npy", window.numpy())
    # in a process of its own: where warnings are errors, MONAI takes ignite for missing
    paths = [str(path) for path in (tmp_path, tmp_path / "window.npy", tmp_path / "scores.npy")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEDSEG, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (tmp_path / "masks").iterdir()
    theirs = read_label_map(path, task.label_schema)
    # bfloat16, where the processor is fast in it, would tip some of an untrained network's voxels over
    monkeypatch.setattr(sliding_window, "has_fast_bfloat16", lambda device: False)
    ours = NetworkSegmenter(bundle, torch.device("cpu")).segment(images).label_map
    assert theirs.geometry.difference(ours.geometry) is None
    assert set(np.unique(ours.array)) == {0, *values}
    assert (theirs.array == ours.array).mean() > 0.999  # a tie may fall either way: sums are rounded in another order
    with torch.no_grad():
        scores = biased(trained_network(bundle), -0.1)(window)[0]
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), scores, atol=1e-5)
