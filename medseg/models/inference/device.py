"""Which device and number format a network runs in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from medseg.core.errors import InputError

CPU = torch.device("cpu")

DeviceName = Literal["auto", "cpu", "cuda"]

InferenceDevice = Literal["auto", "cpu", "cuda", "openvino"]
"""Where a trained network runs; "openvino" is the processor, by way of OpenVINO."""


def choose_device(name: DeviceName = "auto") -> torch.device:
    """The device of that name; "auto" is the GPU where there is one. Raises InputError where it is missing."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA GPU on this machine that torch can use. Choose the device cpu or auto.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, so that it is faster than float32 there."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, *, enabled: bool) -> AbstractContextManager[object]:
    """A context in which convolutions run in bfloat16, where enabled."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
