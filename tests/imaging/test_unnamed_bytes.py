"""Bytes on the disk without a name."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from medseg.imaging.unnamed_bytes import UnnamedBytes


def test_what_is_written_stays_after_a_rest_and_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = UnnamedBytes((4, 5, 6), tmp_path)
    assert kept.array.shape == (4, 5, 6)
    assert not kept.array.any()
    kept.array[1:3] = 7
    kept.rest()
    assert np.count_nonzero(kept.array == 7) == 60
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot set disk space aside")
def test_a_full_disk_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no space"):
        UnnamedBytes((4, 5, 6), tmp_path)
