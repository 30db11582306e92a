"""A plan may be edited; one that cannot be followed says what is wrong, what it got, and how to mend it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from made_facts import case_facts, fingerprint_of

from medseg.core.errors import InputError, PlanError
from medseg.core.task import load_task
from medseg.training.cases import PreparedCase
from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.planning.checks import finest_channels, require_foreground, require_possible
from medseg.training.planning.ladder import Choice, NetworkName
from medseg.training.planning.plan import Plan, read_plan
from medseg.training.planning.rules import Budget, make_plan

TASK = load_task("hippocampus_mr")


def planned(network: NetworkName = "unet3d") -> Plan:
    return make_plan(TASK, fingerprint_of(case_facts()), Budget(minutes=3), Choice(network))


def edited(folder: Path, plan: Plan, key: str, value: Any) -> Path:
    """The plan's file with one value changed, the key's parts set apart by dots."""
    values = plan.model_dump(mode="json", exclude_none=True)
    *path, last = key.split(".")
    inner = values
    for part in path:
        inner = inner[part]
    inner[last] = value
    (folder / "plan.toml").write_text(tomli_w.dumps(values))
    return folder / "plan.toml"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.batch_size", 0, r"training\.batch_size: .*greater than or equal to 1, got 0"),
        ("training.epochs", 1.5, r"training\.epochs: .*integer.*, got 1\.5"),
        ("training.foreground_fraction", 66, r"less than or equal to 1, got 66"),
        ("training.deterministic", True, "cannot end by the clock; leave out minutes, or deterministic"),
        (
            "training.loss",
            [{"kind": "boundary"}],
            r"boundary cannot train a network alone.*Add a loss of overlap.*dice",
        ),
        ("training.loss", [], "at least 1 item"),
        ("training.augmentation.mirror_axes", [3], r"mirror_axes\.0: .*less than or equal to 2, got 3"),
        ("model.window.mirror_axes", [3], r"model\.window\.mirror_axes\.0: .*less than or equal to 2, got 3"),
        ("model.window.patch", [40, 56, 0], r"model\.window\.patch\.2: .*greater than or equal to 1, got 0"),
        ("model.window.patch", [40, 56], r"model\.window\.patch\.2: Field required"),
        ("model.window.patch", [40, 50, 40], r"divides by \(8, 8, 8\); the nearest patch that can is \(40, 48, 40\)"),
        ("model.window.overlap", 1.0, r"less than 1, got 1\.0"),
        ("model.preparation.spacing_mm", [1.0, 0.0, 1.0], r"spacing_mm\.1: .*greater than 0, got 0\.0"),
        ("model.network.channels", [16, 32, 64], "channels, strides and kernel_sizes name 3, 4 and 4 stages"),
        ("model.network.strides", [[1, 1, 1], [2, 2, 2], [2, 2, 2]], "name 4, 3 and 4 stages; give each as many"),
        ("model.network.deep_supervision", 3, "4 stages allow at most 2 supervised heads"),
        ("model.network.kind", "unet", r"expected tags: 'unet3d'"),
    ],
)
def test_each_wrong_value_is_one_sentence(tmp_path: Path, key: str, value: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said) as error:
        read_plan(edited(tmp_path, planned(), key, value))
    assert str(error.value).startswith(f"{tmp_path / 'plan.toml'} is not valid: ")
    assert "\n" not in str(error.value)


def test_what_counts_mm_must_know_the_spacing(tmp_path: Path) -> None:
    loss = [{"kind": "dice"}, BoundaryConfig(spacing_mm=(1.0, 1.0, 2.0)).model_dump(mode="json", exclude_none=True)]
    with pytest.raises(PlanError, match=r"the loss boundary counts mm at a spacing of \(1\.0, 1\.0, 2\.0\).*\(1\.0, 1"):
        read_plan(edited(tmp_path, planned(), "training.loss", loss))
    with pytest.raises(PlanError, match=r"the network cnn_crf counts mm at .* prepared at \(2\.0, 1\.0, 1\.0\)"):
        read_plan(edited(tmp_path, planned("cnn_crf"), "model.preparation.spacing_mm", [2.0, 1.0, 1.0]))
    loss[1]["spacing_mm"] = [1.0, 1.0, 1.0]
    assert read_plan(edited(tmp_path, planned(), "training.loss", loss)).training.loss[1].kind == "boundary"


def test_a_network_that_cannot_pass_the_patch_is_refused_before_training(tmp_path: Path) -> None:
    require_possible(planned(), Budget())
    halved = [[2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 1, 1]]
    with pytest.raises(PlanError, match=r"unet3d makes \(20, 28, 20\) voxels of a patch of \(40, 56, 40\)"):
        require_possible(read_plan(edited(tmp_path, planned(), "model.network.strides", halved)), Budget())
    even = [[2, 2, 2]] * 4
    with pytest.raises(PlanError, match=r"unet3d cannot pass a patch of \(40, 56, 40\).*kernel_sizes.*medseg plan"):
        require_possible(read_plan(edited(tmp_path, planned(), "model.network.kernel_sizes", even)), Budget())


def test_a_patch_or_batch_that_does_not_fit_the_stated_memory_is_refused(tmp_path: Path) -> None:
    large = read_plan(edited(tmp_path, planned(), "model.window.patch", [256, 256, 256]))
    # 2 patches x 256^3 voxels x 16 channels x 40 bytes are 20 GB
    with pytest.raises(
        PlanError, match=r"2 patches of \(256, 256, 256\) voxels need about 20\.0 GB.*8 GB.*--memory-gb"
    ):
        require_possible(large, Budget())
    many = read_plan(edited(tmp_path, planned(), "training.batch_size", 200))
    with pytest.raises(PlanError, match=r"200 patches of .* need about 10\.7 GB"):
        require_possible(many, Budget())
    require_possible(many, Budget(memory_gb=11.0))


@pytest.mark.parametrize(("network", "channels"), [("unet3d", 16), ("fcn", 16), ("tiramisu", 16), ("cnn_crf", 16)])
def test_channels_are_counted_as_the_planner_counted_them(network: NetworkName, channels: int) -> None:
    assert finest_channels(planned(network).model.network) == channels


def prepared_case(classes: np.ndarray) -> PreparedCase:
    places = tuple(np.argwhere(classes == number).astype(np.int32) for number in (1, 2))
    return PreparedCase("a", np.zeros((1, *classes.shape), np.float32), classes, places, "0")


def test_training_needs_cases_and_foreground() -> None:
    empty = prepared_case(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"no case to train on.*two subjects at least"):
        require_foreground([], planned())
    with pytest.raises(InputError, match=r"none of the 2 training cases .* and dice and focal need foreground"):
        require_foreground([empty, empty], planned())
    require_foreground([empty, prepared_case(np.full((4, 4, 4), 2, np.uint8))], planned())
