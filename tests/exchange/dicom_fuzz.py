"""Mutated files by seed: whatever comes in, a scan or an InputError comes out, in bounded time.

`python tests/exchange/dicom_fuzz.py 2000 5000 2000` runs that many mutated series, codec streams and NIfTI headers and
prints the seeds of what went wrong, the slowest and the most memory; with `--first N` the seeds begin at N, so that a
long run can be had in parts. The test run does a part of it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from dicom_makers import TWELVE
from dicom_oracle import (
    Encoder,
    compress,
    enhanced,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    jpeg_xl,
    made_series,
    rle,
    save,
    words_of,
)

from medseg.core.errors import InputError
from medseg.exchange.dicom.codecs.child import DecoderProcess
from medseg.exchange.dicom.codecs.layout import PixelLayout
from medseg.exchange.read import read_scan

MOST_SECONDS = 30.0

_TS = "1.2.840.10008.1.2"
CODECS: tuple[tuple[Encoder, str], ...] = (
    (rle, _TS + ".5"), (jpeg, _TS + ".4.51"), (jpeg_lossless, _TS + ".4.70"), (jpeg_ls, _TS + ".4.80"),
    (jpeg_2000, _TS + ".4.90"), (htj2k, _TS + ".4.201"), (jpeg_xl, _TS + ".4.110"),
)  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some of them changed, cut out, doubled, or the end cut off."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, max(1, len(changed))))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            changed[place : place + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 1:
            changed[place : place + 4] = rng.bytes(4)
        elif kind == 2:
            changed[place : place + 4] = b"\xff\xff\xff\xff"
        elif kind == 3:
            del changed[place : place + int(rng.integers(1, 40))]
        elif kind == 4:
            piece = changed[place : place + int(rng.integers(1, 60))]
            changed[place:place] = piece
        else:
            del changed[place:]
    return bytes(changed)


def try_series(seed: int) -> None:
    """A series of which one file, plain, compressed or enhanced, has been mutated."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slices = made_series(storage=TWELVE)
        kind = int(rng.integers(0, 4))
        if kind == 3:
            files = [save(enhanced(slices), folder / "enhanced.dcm")]
        else:
            encode, syntax = CODECS[int(rng.integers(0, 6))] if kind == 2 else (None, _TS + ".1" if kind else _TS)
            files = [
                save(compress(one, encode) if encode else one, folder / f"{k}.dcm", syntax)
                for k, one in enumerate(slices)
            ]
        victim = files[int(rng.integers(0, len(files)))]
        victim.write_bytes(mutated(victim.read_bytes(), rng))
        _read_or_refuse(folder)


def try_stream(seed: int, decoder: DecoderProcess) -> None:
    """One compressed frame, mutated, in the decoding child."""
    rng = np.random.default_rng(seed)
    encode, syntax = CODECS[seed % len(CODECS)]
    one = made_series(storage=TWELVE)[0]
    stream = mutated(encode(words_of(one)[0], one), rng)
    try:
        decoder.decode(stream, syntax, PixelLayout(one.Rows, one.Columns, 16, 12, 11, is_signed=False), "frame")
    except InputError:
        return


def try_nifti(seed: int) -> None:
    """A NIfTI file whose header has been mutated."""
    rng = np.random.default_rng(seed)
    data = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1.0, 1.0, 2.0, 1.0])).to_bytes()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "image.nii"
        path.write_bytes(mutated(data[:352], rng) + data[352:])
        _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    try:
        scan = read_scan(path)
    except InputError:
        return
    assert scan.volume.array.size < 1 << 24


def failures(attempt: Callable[[int], None], seeds: range) -> list[tuple[int, str]]:
    """Seeds for which something other than a scan or an InputError came out, or that took too long."""
    return attempts(attempt, seeds)[0]


def attempts(attempt: Callable[[int], None], seeds: range) -> tuple[list[tuple[int, str]], float]:
    """The failures among seeds, and the seconds that the slowest of all took."""
    wrong, slowest_s = [], 0.0
    for seed in seeds:
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                attempt(seed)
        except Exception:  # noqa: BLE001 - this is what is looked for
            wrong.append((seed, traceback.format_exc()))
        took_s = time.monotonic() - start
        slowest_s = max(slowest_s, took_s)
        if took_s > MOST_SECONDS:
            wrong.append((seed, "too long"))
    return wrong, slowest_s


def main() -> int:
    """Run as many of each kind as the arguments say; 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("series", "streams", "headers"):
        parser.add_argument(kind, type=int)
    parser.add_argument("--first", type=int, default=0, help="the first seed of each kind")
    asked = parser.parse_args()
    failed = 0
    with DecoderProcess() as decoder:
        for name, attempt, count in (
            ("series", try_series, asked.series),
            ("streams", lambda seed: try_stream(seed, decoder), asked.streams),
            ("NIfTI headers", try_nifti, asked.headers),
        ):
            wrong, slowest_s = attempts(attempt, range(asked.first, asked.first + count))
            failed += len(wrong)
            sys.stdout.write(f"{name}: {count} tried, {len(wrong)} wrong, the slowest took {slowest_s:.1f} s\n")
            for seed, trace in wrong[:10]:
                sys.stdout.write(f"  seed {seed}\n{trace}\n")
            sys.stdout.flush()
    most_mb = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    sys.stdout.write(f"at most {most_mb[0]:.0f} MB in the reading process, {most_mb[1]:.0f} MB in a decoding one\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
