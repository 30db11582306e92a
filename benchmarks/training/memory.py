"""Peak memory of one training step of the U-Net, by patch and channels: where the planner's constant comes from.

    python benchmarks/training/memory.py

Each size runs in a process of its own; what is printed is the growth of its peak resident memory from before the
first step to after the third, divided by patch voxels, batch, and channels of the finest stage.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics

Size = tuple[tuple[int, int, int], int, int]
SIZES: tuple[Size, ...] = (
    ((64, 64, 64), 2, 16),
    ((64, 64, 64), 2, 32),
    ((96, 96, 64), 2, 16),
    ((96, 96, 96), 1, 32),
    ((128, 128, 64), 2, 16),
)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def growth(size: Size) -> int:
    """Bytes by which three steps raise the peak."""
    import torch

    from medseg.models.inference.device import autocast, has_fast_bfloat16
    from medseg.models.networks.sample_norm import with_sample_norms
    from medseg.models.networks.unet3d import UNet3DConfig
    from medseg.training.losses.dice import DiceConfig
    from medseg.training.losses.focal import FocalConfig
    from medseg.training.losses.weighted_sum import WeightedSum

    patch, batch, channels = size
    stages = 4
    config = UNet3DConfig(
        channels=tuple(channels * 2**stage for stage in range(stages)),
        strides=((1, 1, 1), *((2, 2, 2),) * (stages - 1)),
        kernel_sizes=((3, 3, 3),) * stages,
        deep_supervision=1,
    )
    network = with_sample_norms(config.build(1, 3)).to(memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    loss = WeightedSum((DiceConfig(), FocalConfig()))
    cpu = torch.device("cpu")
    before = peak_bytes()
    for _ in range(3):
        images = torch.randn(batch, 1, *patch).contiguous(memory_format=torch.channels_last_3d)
        with autocast(cpu, enabled=has_fast_bfloat16(cpu)):
            heads = network(images)
        optimizer.zero_grad(set_to_none=True)
        loss(heads, torch.randint(0, 3, (batch, *patch))).backward()
        optimizer.step()
    return peak_bytes() - before


def main() -> None:
    constants = []
    for patch, batch, channels in SIZES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown = pool.apply(growth, ((patch, batch, channels),))
        voxels = batch * patch[0] * patch[1] * patch[2]
        constants.append(grown / (voxels * channels))
        print(
            f"patch {patch}, batch {batch}, {channels} channels: {grown / 2**30:.2f} GB, "
            f"{constants[-1]:.1f} bytes a voxel and channel",
            flush=True,
        )
    print(f"median {statistics.median(constants):.1f}, largest {max(constants):.1f}")


if __name__ == "__main__":
    main()
