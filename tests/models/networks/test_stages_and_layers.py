"""Strides that turn into dilations, and resampling that can be repeated, against numbers written out."""

import pytest
import torch
from torch.nn import functional as F

from medseg.models.networks.layers import convolution, pooled, resized
from medseg.models.networks.stages import dilated, divisor_of


def test_past_the_output_stride_stages_dilate() -> None:
    strides = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    kept, dilations = dilated(strides, 4)
    assert kept == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 1))
    assert dilations == ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 2, 2))
    assert divisor_of(kept) == (4, 4, 4)
    kept, dilations = dilated(strides, 2)
    assert divisor_of(kept) == (2, 2, 2)
    assert dilations == ((1, 1, 1), (1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert dilated(strides, 16) == (strides, ((1, 1, 1),) * 4)


@pytest.mark.parametrize("shape", [(4, 4, 4), (8, 12, 5), (2, 9, 1)])
def test_resampling_is_torchs_trilinear(shape: tuple[int, int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6, 5)
    expected = F.interpolate(maps, size=shape, mode="trilinear", align_corners=False)
    torch.testing.assert_close(resized(maps, shape), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 4, 2)])
def test_pooling_is_torchs_adaptive_mean(shape: tuple[int, int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6, 5)
    torch.testing.assert_close(pooled(maps, shape), F.adaptive_avg_pool3d(maps, shape))


def test_a_dilated_convolution_keeps_the_grid() -> None:
    layer = convolution(1, 1, (1, 3, 3), (1, 1, 1), (1, 2, 5))
    assert layer(torch.zeros(1, 1, 3, 4, 4)).shape == (1, 1, 3, 4, 4)
