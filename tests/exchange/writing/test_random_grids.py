"""Volume -> SEG -> LabelMap and Volume -> RTSTRUCT -> LabelMap on grids and masks nobody chose."""

import tempfile
from pathlib import Path

import numpy as np
from dicom_oracle import Grid, save_all, turned
from dicom_results import CREATED, MODEL, TASK, images
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from medseg.core.label_map import LabelMap
from medseg.exchange.dicom.writing.regions import regions_of_labels
from medseg.exchange.dicom.writing.segmentation import write_segmentation
from medseg.exchange.dicom.writing.source import Made
from medseg.exchange.dicom.writing.structure_set import write_structures
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_scan

spacings = st.floats(0.3, 6.0)
grids = st.builds(
    Grid,
    count=st.integers(1, 5),
    rows=st.integers(2, 9),
    columns=st.integers(2, 9),
    row_spacing=spacings,
    column_spacing=spacings,
    step=spacings,
    tilt=st.sampled_from([0.0, 0.0, 0.15, -0.2]),
    directions=st.integers(0, 10_000).map(turned),
    origin=st.tuples(*(st.floats(-500, 500),) * 3),
)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(grid=grids, seed=st.integers(0, 1000), share=st.floats(0.1, 0.9))
def test_a_mask_comes_back_from_a_segmentation_and_from_contours(grid: Grid, seed: int, share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = read_scan(save_all(images(grid), folder / "image"))
        random = np.random.default_rng(seed)
        array = random.choice([1, 7, 300], size=scan.volume.geometry.shape).astype(np.uint16)
        array[random.random(array.shape) > share] = 0
        array[0, 0, 0] = 7
        mask = LabelMap(array, scan.volume.geometry, TASK.label_schema)
        made = Made(MODEL, scan.series.files, CREATED)
        write_segmentation(mask, folder / "seg.dcm", made)
        write_structures(regions_of_labels(mask), folder / "rs.dcm", made)
        for written in ("seg.dcm", "rs.dcm"):
            back = read_labels(folder / written, TASK.label_schema, scan.volume.geometry)
            assert_array_equal(back.label_map.array, mask.array)
            assert back.label_map.geometry.difference(scan.volume.geometry) is None
