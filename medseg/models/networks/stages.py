"""How a network steps from fine to coarse: the strides and kernels that several configs share, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Annotated

from pydantic import Field

Positive = Annotated[int, Field(ge=1)]
Triple = tuple[Positive, Positive, Positive]
Channels = Annotated[int, Field(ge=4)]

FINEST: Triple = (1, 1, 1)


def triple(values: Iterable[int]) -> tuple[int, int, int]:
    """Three numbers, one for each axis, as a tuple of just three."""
    i, j, k = values
    return i, j, k


def require_as_many(**named: Sequence[object]) -> None:
    """Raises ValueError where the fields, given by name, do not all describe the same number of stages."""
    counts = [len(values) for values in named.values()]
    if len(set(counts)) > 1:
        names, numbers = list(named), [str(count) for count in counts]
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} name {', '.join(numbers[:-1])} and {numbers[-1]} stages; "
            "give each as many"
        )


def divisor_of(strides: Sequence[Triple]) -> Triple:
    """The product of the strides along each axis: what each side of a patch must be divisible by."""
    return triple(prod(stride[axis] for stride in strides) for axis in range(3))


def dilated(strides: Sequence[Triple], output_stride: int) -> tuple[tuple[Triple, ...], tuple[Triple, ...]]:
    """Strides and dilations of stages that grow no coarser than `output_stride` voxels along any axis.

    Where a stride would go further it becomes a dilation of that and all later stages, so that they see as far as they
    would have on the coarser grid (Yu and Koltun 2016).
    """
    kept: list[Triple] = []
    dilations: list[Triple] = []
    dilation = FINEST
    for stride in strides:
        so_far = divisor_of(kept)
        fits = tuple(reached * step <= output_stride for reached, step in zip(so_far, stride, strict=True))
        kept.append(triple(step if fit else 1 for step, fit in zip(stride, fits, strict=True)))
        dilation = triple(d * (1 if fit else step) for d, step, fit in zip(dilation, stride, fits, strict=True))
        dilations.append(dilation)
    return tuple(kept), tuple(dilations)
