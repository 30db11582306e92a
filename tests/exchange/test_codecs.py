"""The decoding child: a crash, a hang, or a hunger for memory costs a frame, never the program."""

import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from medseg.core.errors import InputError
from medseg.exchange.dicom.codecs import child, worker
from medseg.exchange.dicom.codecs.child import DecoderProcess
from medseg.exchange.dicom.codecs.layout import PixelLayout, stored_values
from medseg.exchange.dicom.codecs.syntaxes import JPEG_LS, RLE

LAYOUT = PixelLayout(rows=4, columns=6, bits_allocated=16, bits_stored=12, high_bit=11, is_signed=False)
PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6)
STREAM = bytes(imagecodecs.jpegls_encode(PIXELS))


def rogue(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Replace what the child runs after it has limited itself."""
    start = f"import json, sys, time; from {worker.__name__} import _limit_itself; _limit_itself(); {body}"
    monkeypatch.setattr(child, "_START", "import sys, json; sys.path[:] = json.loads(sys.argv[1]); " + start)


def test_a_frame_is_decoded_and_the_child_serves_the_next() -> None:
    with DecoderProcess() as decoder:
        for _ in range(3):
            assert_array_equal(decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "a.dcm"), PIXELS)


def test_after_a_bad_frame_the_next_good_one_is_decoded() -> None:
    with DecoderProcess() as decoder:
        with pytest.raises(InputError, match=r"a\.dcm: its compressed pixel data cannot be decoded"):
            decoder.decode(b"noise", RLE, LAYOUT, "a.dcm")
        assert_array_equal(decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "b.dcm"), PIXELS)


def test_a_crash_is_told_and_the_parent_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    rogue(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with DecoderProcess() as decoder, pytest.raises(InputError, match="crashed the decoder"):
        decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "a.dcm")


def test_a_hang_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rogue(monkeypatch, "time.sleep(60)")
    before = set(threading.enumerate())
    with DecoderProcess(frame_seconds=0.5) as decoder, pytest.raises(InputError, match=r"more than 0\.5 s"):
        decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "a.dcm")
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(60)
    assert not [thread for thread in left if thread.is_alive()]


def test_memory_above_the_limit_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    rogue(monkeypatch, "x = bytearray(8 << 30)")
    with DecoderProcess() as decoder, pytest.raises(InputError, match="crashed the decoder"):
        decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "a.dcm")


def test_the_child_may_not_write_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rogue(monkeypatch, f"open({str(tmp_path / 'evil')!r}, 'w').write('x' * 100)")
    with DecoderProcess() as decoder, pytest.raises(InputError, match="crashed"):
        decoder.decode(STREAM, JPEG_LS[0], LAYOUT, "a.dcm")
    assert not (tmp_path / "evil").exists() or (tmp_path / "evil").stat().st_size == 0


def test_values_above_the_stored_bits_are_refused() -> None:
    loud = bytes(imagecodecs.jpegls_encode(PIXELS + 5000))
    with DecoderProcess() as decoder, pytest.raises(InputError, match="12 bits cannot hold"):
        decoder.decode(loud, JPEG_LS[0], LAYOUT, "a.dcm")


@pytest.mark.parametrize(
    ("word", "stored", "high", "is_signed", "value"),
    [
        (0xF123, 12, 11, False, 0x123),
        (0x0FFF, 12, 11, True, -1),
        (0xF7FF, 12, 11, True, 2047),
        (0x1230, 12, 15, False, 0x123),
        (0xFFFF, 16, 15, True, -1),
        (0xFFFF, 16, 15, False, 65535),
        (0b1101_0000_0000_0000, 2, 13, True, 1),
    ],
)
def test_only_the_stored_bits_count(word: int, stored: int, high: int, is_signed: bool, value: int) -> None:
    layout = PixelLayout(1, 1, 16, stored, high, is_signed)
    assert stored_values(np.array([[word]], dtype=np.uint16), layout)[0, 0] == value
