"""The forecast's formula, against numbers worked out by hand."""

import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry, Shape
from medseg.imaging.regions.islands import FillHoles, KeepLargest
from medseg.models.inference.forecast import Forecast, Probe, forecast_for, streamed_bytes, whole_bytes
from medseg.models.inference.streaming import plan_sweep
from medseg.models.spec import ModelSpec

PROBE = Probe(window_s=0.5, window_mb=100.0, read_s=2.0, resident_mb=400.0)


def forecast(spec: ModelSpec, shape: Shape, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Forecast:
    return forecast_for(spec, Geometry.from_spacing(shape, spacing_mm), PROBE)


def test_windows_seconds_and_memory_by_hand(spec: ModelSpec) -> None:
    told = forecast(spec, (32, 24, 16))  # windows of 16 at every 8th voxel: 3 x 2 x 1, in planes along i
    assert told.windows == 6
    assert told.seconds == 2.0 + 6 * 0.5
    plane = 24 * 16
    scores = 3 * plane * 2 * (16 + 26)  # three classes, two bytes; a window's planes and 26 that wait
    images = 2 * plane * 16 * 4
    shares = plane * 16 * 4
    remembered = 3 * 16**3 * 4
    mask = 32 * 24 * 16
    held_mb = (scores + images + shares + remembered + 2 * 4_000_000 * 4 + mask) / 1e6
    assert told.peak_memory_mb == pytest.approx(400 + 100 + held_mb)
    assert not told.is_whole


def test_a_longer_scan_takes_longer_and_holds_no_more_but_its_mask(spec: ModelSpec) -> None:
    short, long = forecast(spec, (64, 64, 100)), forecast(spec, (64, 64, 1000))
    assert long.windows > 9 * short.windows
    assert long.peak_memory_mb - short.peak_memory_mb == pytest.approx(64 * 64 * 900 / 1e6)


def test_a_scan_finer_than_the_model_has_as_many_windows_as_at_the_models_spacing(spec: ModelSpec) -> None:
    assert forecast(spec, (64, 64, 64), (0.5, 0.5, 0.5)).windows == forecast(spec, (32, 32, 32)).windows
    with pytest.raises(InputError, match="Is its spacing right"):
        forecast(spec, (50, 50, 50), (90.0, 90.0, 90.0))


def test_windows_that_are_not_remembered_and_scores_of_four_bytes_are_counted(spec: ModelSpec) -> None:
    sweep = plan_sweep((64, 64, 64), spec.window)
    forgetful = spec.model_copy(update={"window": spec.window.model_copy(update={"reuse_constant": False})})
    assert streamed_bytes(spec, sweep) - streamed_bytes(forgetful, sweep) == 3 * 16**3 * 4
    dense = spec.window.model_copy(update={"overlap": 0.9})
    wider = streamed_bytes(spec, plan_sweep((64, 64, 64), dense)) - streamed_bytes(spec, sweep)
    assert wider == 3 * 64 * 64 * 2 * (16 + 26)


def test_a_refinement_needs_all_scores_and_the_forecast_says_so(spec: ModelSpec) -> None:
    sweep = plan_sweep((32, 32, 32), spec.window)
    one = spec.model_copy(update={"refinement": (KeepLargest(),)})
    many = spec.model_copy(update={"refinement": (KeepLargest(), FillHoles(), KeepLargest())})
    assert whole_bytes(one, sweep) == 32**3 * 4 * (2 * 3 + 2 + 1)
    assert whole_bytes(many, sweep) == 32**3 * 4 * (3 * 3 + 2 + 1)
    assert forecast(one, (32, 32, 32)).is_whole
    large = (256, 256, 256)
    assert forecast(one, large).peak_memory_mb - 500 > 5 * (forecast(spec, large).peak_memory_mb - 500)
