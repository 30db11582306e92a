"""Arrays of bytes in files without a name: as large as the disk, and never more in memory than is being used."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Shape


class UnnamedBytes:
    """An array (i, j, k) uint8 of zeros that lies on the disk of `folder`; nothing is left when it is forgotten.

    Raises OSError where the disk has no room for it.
    """

    def __init__(self, shape: Shape, folder: Path) -> None:
        size = shape[0] * shape[1] * shape[2]
        with tempfile.TemporaryFile(dir=folder) as file:
            # Room is taken at once: a disk that fills up later would end the process, not raise an error.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.array: NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8).reshape(shape)

    def rest(self) -> None:
        """Give the memory back that the array takes, until it is used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
