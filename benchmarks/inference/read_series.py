"""How long a CT series of 200 x 512 x 512 takes to be read with every check of the reader.

Run with `python benchmarks/inference/read_series.py`; the series is made in a temporary folder, once plain and once for
each compression named. The files come from the page cache, as they do right after a scanner has sent them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from scipy import ndimage

from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.read import read_scan

SHAPE, SPACING_MM = (512, 512, 200), (0.8, 0.8, 1.5)
LIMIT_S = 5.0
COMPRESSIONS = {
    "rle": pydicom.uid.RLELossless,
    "jpeg-ls": pydicom.uid.JPEGLSLossless,
    "j2k": pydicom.uid.JPEG2000Lossless,
}
_CHILD = "--one-folder"


def make_series(folder: Path) -> None:
    """A body of noise in air, in HU."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 25, SHAPE).astype(np.float32)
    i, j = np.ogrid[: SHAPE[0], : SHAPE[1]]
    body = (((i - 256) / 200) ** 2 + ((j - 256) / 150) ** 2 <= 1)[:, :, None]
    smooth = ndimage.gaussian_filter(generator.normal(0, 400, (64, 64, 25)), 1.5)
    organs = np.kron(smooth, np.ones((8, 8, 8))).astype(np.float32)
    hu = np.round(np.where(body, 40 + organs + noise, -1000 + noise / 5))
    series = Series(Study(patient_id="p", date="20260301"), "CT", description="made")
    write_series(Volume(hu.astype(np.float32), Geometry.from_spacing(SHAPE, SPACING_MM), "HU"), folder, series)


def compress(source: Path, target: Path, syntax: str) -> None:
    """The same files with their pixels compressed."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(target / path.name)


def read(folder: Path, times: int) -> int:
    """Read a folder several times in this process and print what it took; 1 where the median misses the limit."""
    seconds, core_seconds = [], []
    for _ in range(times):
        begin, core_begin = time.perf_counter(), time.process_time()
        scan = read_scan(folder)
        seconds.append(time.perf_counter() - begin)
        core_seconds.append(time.process_time() - core_begin)
        assert scan.volume.geometry.shape == SHAPE
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    shown = ", ".join(f"{one:.2f}" for one in seconds)
    core_s = statistics.median(core_seconds)
    print(
        f"{folder.name}: median {statistics.median(seconds):.2f} s ({shown}), {core_s:.2f} core s in this process, "
        f"at most {peak_gb:.2f} GB",
        flush=True,
    )
    return int(statistics.median(seconds) > LIMIT_S)


def main() -> int:
    """Make the series and read each in a process of its own; 1 where the plain one misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--compressed", nargs="*", default=[], choices=sorted(COMPRESSIONS))
    parser.add_argument(_CHILD, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_folder is not None:
        return read(arguments.one_folder, arguments.times)
    with tempfile.TemporaryDirectory() as name:
        plain = Path(name) / "plain"
        make_series(plain)
        folders = [plain]
        for compression in arguments.compressed:
            folders.append(Path(name) / compression)
            compress(plain, folders[-1], COMPRESSIONS[compression])
        command = [sys.executable, __file__, "--times", str(arguments.times), _CHILD]
        codes = [subprocess.run([*command, str(folder)], check=False).returncode for folder in folders]
    return codes[0]


if __name__ == "__main__":
    sys.exit(main())
