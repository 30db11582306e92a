"""Every network leaves as an ONNX file that onnxruntime runs as torch does, or not at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from medseg.core.errors import InputError, PlanError, StoreError
from medseg.models.bundle import ModelBundle
from medseg.models.export import onnx_file
from medseg.models.export.onnx_file import Agreement, Probabilities, compare, require_agreement, write_onnx
from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.deeplabv3 import DeepLabV3Config
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.pspnet import PSPNetConfig
from medseg.models.networks.tiramisu import TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, from_toml
from medseg.models.trained_network import trained_network

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'medseg[onnx]'")
pytest.importorskip("onnxscript", reason="needs the extra: pip install 'medseg[onnx]'")

STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
STAGES = {"channels": (4, 4, 6), "strides": STRIDES, "kernel_sizes": KERNELS}
WINDOW = {"patch": (4, 12, 16)}

UNET = UNet3DConfig(**STAGES, deep_supervision=1, residual=True)
CONFIGS: list[NetworkConfig] = [
    UNET,
    FCNConfig(**STAGES, decoder="transposed"),
    TiramisuConfig(
        layers=(1, 1, 1), strides=STRIDES, kernel_sizes=KERNELS, growth=4, first_channels=4, checkpointing=True
    ),
    PSPNetConfig(**STAGES, output_stride=2, auxiliary=False),
    DeepLabV3Config(**STAGES, output_stride=2, rates=((1, 2, 2),)),
    CnnCrfConfig(unary=UNet3DConfig(**STAGES), spacing_mm=(1.0, 1.0, 1.0), reach=(0, 0, 1), iterations=1),
]
MakeBundle = Callable[..., ModelBundle]


def test_every_network_of_the_union_is_under_contract() -> None:
    union, _ = get_args(NetworkConfig)
    assert {type(config) for config in CONFIGS} == set(get_args(union))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_onnxruntime_repeats_torch(config: NetworkConfig, make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(config, window=WINDOW, foreground_bias=-0.25)
    agreement = write_onnx(bundle, tmp_path / "a.onnx")
    assert agreement.windows == 3
    assert agreement.probability_difference < 2e-5
    assert agreement.same_class_share > 0.999
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(3, 1, *WINDOW["patch"], generator=torch.Generator().manual_seed(5))
    (got,) = session.run(None, {"images": images.numpy()})  # three windows: no size that the export itself has tried
    with torch.no_grad():
        logits = trained_network(bundle)(images)[0]
    logits[:, 1:] -= 0.25
    expected = logits.softmax(dim=1)
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> ModelBundle:
    return make_bundle(FCNConfig(**STAGES, decoder="transposed"), window=WINDOW)


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    """The file of `bundle`, once it has been written."""
    return {}


@pytest.fixture
def written(bundle: ModelBundle, content: dict[str, bytes], tmp_path: Path) -> Path:
    """An exported file of `bundle`; the export itself takes a second, so it is made once."""
    path = tmp_path / "exported" / "a.onnx"
    if not content:
        write_onnx(bundle, path)
        content["file"] = path.read_bytes()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content["file"])
    return path


class TestFile:
    def test_says_which_model_it_is_and_nothing_of_this_machine(self, bundle: ModelBundle, written: Path) -> None:
        session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
        assert told["medseg.bundle_sha256"] == "f" * 64
        assert from_toml(ModelSpec, told["medseg.spec_toml"], "the file") == bundle.spec
        assert [entry["name"] for entry in json.loads(told["medseg.classes"])] == [
            "background",
            *(label.name for label in bundle.spec.task.labels),
        ]
        assert [entry["mask_value"] for entry in json.loads(told["medseg.classes"])] == [0, 1, 2]
        assert str(Path(torch.__file__).parent).encode() not in written.read_bytes()
        assert b"fcn.py" not in written.read_bytes()

    def test_replaces_an_older_one_only_if_it_agrees(
        self, bundle: ModelBundle, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def export_another(network: object, bundle: object, path: Path) -> None:
            path.write_bytes(exported)

        exported, target = written.read_bytes(), written.parent / "b.onnx"
        target.write_text("older")
        monkeypatch.setattr(onnx_file, "_export", export_another)
        other = replace(bundle, weights={name: tensor + 0.1 for name, tensor in bundle.weights.items()})
        with pytest.raises(StoreError, match=r"ONNX file of tiny is not delivered: onnxruntime differs from torch by"):
            write_onnx(other, target)
        assert sorted(path.name for path in target.parent.iterdir()) == ["a.onnx", "b.onnx"]
        assert target.read_text() == "older"
        write_onnx(bundle, target)
        assert target.read_bytes() == exported

    def test_of_another_model_is_found_out(self, bundle: ModelBundle, written: Path) -> None:
        torch.manual_seed(7)
        other = Probabilities(bundle.spec.network.build(1, bundle.spec.class_count)).eval()
        assert compare(written, other, bundle.spec).probability_difference > 0.01


def test_agreement_needs_both_the_probabilities_and_the_classes() -> None:
    require_agreement(Agreement(3, 1e-6, 1.0), "m")
    for off in (Agreement(3, 1e-3, 1.0), Agreement(3, 1e-6, 0.99), Agreement(3, float("nan"), 1.0)):
        with pytest.raises(StoreError, match="not delivered"):
            require_agreement(off, "m")


def test_a_network_that_onnx_cannot_say_is_a_sentence(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*arguments: object, **options: object) -> None:
        raise torch.onnx.OnnxExporterError("no operation for aten::medseg\nand a page more")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(
        PlanError, match=r"network fcn of tiny cannot be written as ONNX: no operation for aten::medseg\."
    ):
        write_onnx(bundle, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "surely_missing"))
    with pytest.raises(InputError, match=r"to ONNX needs surely_missing, which is not installed.*'medseg\[onnx\]'"):
        write_onnx(bundle, tmp_path / "a.onnx")
