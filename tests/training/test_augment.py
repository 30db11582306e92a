"""Changes of a batch: what must stay true of image and mask, and what must not happen."""

import math

import numpy as np
import pytest
import torch

from medseg.training.augment import Augmentation, AugmentationConfig

NOTHING = AugmentationConfig(turn_chance=0, mirror_axes=(), intensity_chance=0, noise_chance=0, blur_chance=0)


def seeds(first: int = 0, count: int = 3) -> list[int]:
    return list(range(1000 * first, 1000 * first + count))


def batch(shape: tuple[int, int, int] = (12, 10, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(9))
    return images, (images[:, 0] > 0).long()


def test_nothing_asked_is_nothing_done() -> None:
    images, masks = batch()
    same_images, same_masks = Augmentation(NOTHING, (1.0, 1.0, 1.0)).change(images, masks, seeds())
    torch.testing.assert_close(same_images, images, atol=1e-5, rtol=0)
    torch.testing.assert_close(same_masks, masks)


def test_image_and_mask_are_mirrored_together_along_the_asked_axis_only() -> None:
    images, masks = batch()
    config = NOTHING.model_copy(update={"mirror_axes": (1,)})
    seen = set()
    for seed in range(8):
        new_images, new_masks = Augmentation(config, (1.0, 1.0, 1.0)).change(images, masks, seeds(seed))
        for case in range(3):
            is_same = torch.allclose(new_images[case], images[case], atol=1e-4)
            is_mirrored = torch.allclose(new_images[case], images[case].flip(2), atol=1e-4)
            assert is_same != is_mirrored
            seen.add(is_mirrored)
            torch.testing.assert_close(new_masks[case], masks[case].flip(1) if is_mirrored else masks[case])
    assert seen == {True, False}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0), (3.0, 0.7, 0.7)])
def test_a_turned_ball_stays_a_ball_in_mm(spacing: tuple[float, float, float]) -> None:
    """A turn that took voxels for cubes would squeeze the ball on an anisotropic grid."""
    shape = tuple(round(48 / length) for length in spacing)
    place = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), dim=-1)
    ball = ((place * torch.tensor(spacing)).norm(dim=-1) <= 14).float()
    config = NOTHING.model_copy(update={"turn_chance": 1.0, "rotation_degrees": 60.0, "scale": 0.0})
    images, masks = Augmentation(config, spacing).change(ball[None, None], ball[None].long(), [3])
    overlap = 2 * (masks[0] * ball).sum() / (masks.sum() + ball.sum())
    assert overlap > 0.93
    torch.testing.assert_close((images[0, 0] > 0.5).long(), masks[0], atol=1, rtol=0)


def test_a_turn_by_a_right_angle_turns_by_a_right_angle() -> None:
    config = NOTHING.model_copy(update={"turn_chance": 1.0, "rotation_degrees": 30.0, "scale": 0.0})
    augmentation = Augmentation(config, (1.0, 1.0, 1.0))
    matrix = augmentation._matrix((10, 10, 10), np.random.default_rng(1))[:, :3]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    angle = math.degrees(math.acos((float(matrix.trace()) - 1) / 2))
    assert 1 < angle < 120


def test_the_same_seeds_give_the_same_batch() -> None:
    images, masks = batch()
    augmentation = Augmentation(AugmentationConfig(), (1.0, 1.0, 1.0))
    first, again = (augmentation.change(images.clone(), masks.clone(), seeds(5)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    other = augmentation.change(images.clone(), masks.clone(), seeds(6))
    assert not torch.allclose(first[0], other[0])


def test_strong_changes_stay_finite_and_masks_keep_their_classes() -> None:
    config = AugmentationConfig(turn_chance=1, intensity_chance=1, noise_chance=1, blur_chance=1)
    images, masks = batch()
    for seed in range(5):
        new_images, new_masks = Augmentation(config, (1.0, 2.0, 3.0)).change(images, masks, seeds(seed))
        assert new_images.isfinite().all()
        assert set(new_masks.flatten().tolist()) <= {0, 1}
        assert new_masks.dtype == torch.long
    constant = torch.zeros(1, 1, 6, 6, 6)
    shaded, _ = Augmentation(config, (1.0, 1.0, 1.0)).change(constant, torch.zeros(1, 6, 6, 6).long(), [0])
    assert shaded.isfinite().all()


def test_a_patch_is_changed_by_its_own_seed_alone() -> None:
    images, masks = batch()
    config = AugmentationConfig(turn_chance=1, intensity_chance=1, noise_chance=1, blur_chance=1)
    augmentation = Augmentation(config, (1.0, 1.0, 2.0))
    together = augmentation.change(images, masks, [11, 12, 13])
    for place, seed in enumerate([11, 12, 13]):
        alone = augmentation.change(images[place : place + 1], masks[place : place + 1], [seed])
        torch.testing.assert_close(alone[0][0], together[0][place])
        torch.testing.assert_close(alone[1][0], together[1][place])
