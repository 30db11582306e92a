"""Which patch a step gets."""

import threading
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch

from medseg.training.batches import Batch, PatchSampler, made_ahead
from medseg.training.cases import PreparedCase

PATCH = (8, 8, 8)


def sampler(cases: list[PreparedCase], fraction: float = 0.5, seed: int = 0, batch_size: int = 2) -> PatchSampler:
    return PatchSampler(cases, PATCH, batch_size=batch_size, foreground_fraction=fraction, seed=seed)


def test_a_step_gets_the_same_patch_each_time_and_another_step_another(cases: list[PreparedCase]) -> None:
    first = sampler(cases).batch(3, 1)
    again = sampler(cases).batch(3, 1)
    assert first.cases == again.cases
    torch.testing.assert_close(first.images, again.images, rtol=0, atol=0)
    for other in (sampler(cases).batch(3, 2), sampler(cases).batch(4, 1), sampler(cases, seed=1).batch(3, 1)):
        assert not torch.equal(first.images, other.images)


def test_an_epoch_takes_every_case_equally_often(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases)
    counted = Counter(name for step in range(4) for name in drawn.batch(0, step).cases)
    assert counted == {case.name: 2 for case in cases}


def test_image_and_classes_are_cut_from_the_same_place(cases: list[PreparedCase]) -> None:
    batch = sampler(cases).batch(0, 0)
    assert batch.images.shape == (2, 1, *PATCH)
    assert batch.classes.shape == (2, *PATCH)
    assert batch.images.dtype == torch.float32
    assert batch.classes.dtype == torch.uint8
    for image, classes in zip(batch.images[:, 0], batch.classes, strict=True):
        if classes.any():
            assert image[classes == 1].mean() > image[classes == 0].mean() + 1


def test_foreground_patches_hold_foreground(cases: list[PreparedCase]) -> None:
    always, never = sampler(cases, fraction=1.0), sampler(cases, fraction=0.0)
    with_label = [bool(c.any()) for step in range(20) for c in always.batch(0, step).classes]
    anywhere = [int(c.sum()) for step in range(40) for c in never.batch(0, step).classes]
    aimed = [int(c.sum()) for step in range(40) for c in always.batch(0, step).classes]
    assert all(with_label)
    assert np.mean(aimed) > np.mean(anywhere)


def test_a_case_without_foreground_or_smaller_than_the_patch_still_gives_patches() -> None:
    empty = PreparedCase(
        "e", np.ones((1, 5, 9, 8), np.float32), np.zeros((5, 9, 8), np.uint8), (np.zeros((0, 3), np.int32),), ""
    )
    batch = sampler([empty], fraction=1.0).batch(0, 0)
    assert batch.images.shape == (2, 1, *PATCH)
    assert not batch.classes.any()
    classes = np.zeros((5, 9, 8), np.uint8)
    classes[4, 8, 7] = 1
    image = classes.astype(np.float32)[None] * 9
    small = PreparedCase("s", image, classes, (np.argwhere(classes).astype(np.int32),), "")
    batch = sampler([small], fraction=1.0).batch(0, 0)
    assert (batch.classes.sum(dim=(1, 2, 3)) == 1).all()
    torch.testing.assert_close(batch.images[:, 0] / 9, batch.classes.float())


def test_shares_are_the_whole_batch_cut_up(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases, batch_size=4)
    whole = drawn.batch(2, 1)
    shares = [drawn.batch(2, 1, slice(first, first + 2)) for first in (0, 2)]
    torch.testing.assert_close(torch.cat([share.images for share in shares]), whole.images, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([share.classes for share in shares]), whole.classes, rtol=0, atol=0)
    assert shares[0].seeds + shares[1].seeds == whole.seeds
    assert shares[0].cases == whole.cases
    assert len(set(whole.seeds) | set(drawn.batch(2, 2).seeds)) == 8


def test_batches_made_ahead_are_the_same_in_the_same_order(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases)
    got = list(made_ahead(lambda step: drawn.batch(0, step), 7))
    assert len(got) == 7
    for step, batch in enumerate(got):
        torch.testing.assert_close(batch.images, drawn.batch(0, step).images, rtol=0, atol=0)
    assert list(made_ahead(lambda step: drawn.batch(0, step), 0)) == []


def test_only_so_many_are_made_ahead_and_an_end_ends_the_thread(cases: list[PreparedCase]) -> None:
    drawn, made = sampler(cases), []
    threads = threading.active_count()

    def make(step: int) -> Batch:
        made.append(step)
        return drawn.batch(0, step)

    with closing(made_ahead(make, 100, ahead=3)) as batches:
        next(batches)
        next(batches)
    assert len(made) <= 2 + 3
    assert threading.active_count() == threads


def test_what_goes_wrong_in_the_thread_is_raised_in_its_turn(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases)

    def make(step: int) -> Batch:
        if step == 2:
            raise OSError("the disk is gone")
        return drawn.batch(0, step)

    batches = made_ahead(make, 5)
    assert next(batches).cases
    assert next(batches).cases
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
