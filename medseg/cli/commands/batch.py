"""`medseg batch`: segment many scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import InferenceDevice, InferenceDeviceOption, ModelOption, RootOption

if TYPE_CHECKING:
    from medseg.jobs.local_engine import LocalEngineConfig
    from medseg.jobs.ray_engine import RayEngineConfig
    from medseg.workflows.scans.find_scans import FoundScans
    from medseg.workflows.segmenting.process_batch import BatchSummary

SOME_FAILED = 3
"""Exit code of a batch that went through and left some scans aside."""


def batch(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A folder of DICOM and NIfTI scans, a manifest folder, or a list of paths (.txt, .csv).",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The folder of results.", show_default=False)],
    model: ModelOption,
    root: RootOption = None,
    device: InferenceDeviceOption = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.  [default: 1]", show_default=False)] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each.  [default: cores / workers]", show_default=False)
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster by the extra of that name.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the Ray cluster.  [default: one begun here]", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first scans.", show_default=False)] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Keep the probability of each voxel, a NIfTI file a label.")
    ] = False,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Then run this model beside, and only note how it differs: challenger@REGISTRY.",
            show_default=False,
        ),
    ] = None,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Try again what was set aside.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Segment many scans; a batch that was cut off goes on where it stopped. Exit code 3 where some scans failed."""
    from medseg.workflows.segmenting.process_batch import BatchOptions, plan_batch, process_batch
    from medseg.workflows.segmenting.segment_study import open_bundle

    with shown_progress() as progress:
        if dry_run:
            found = plan_batch(source, open_bundle(model), output, data_root=root, progress=progress)
        else:
            options = BatchOptions(
                engine=_engine(engine, address, workers, threads, device),
                device=device,
                limit=limit,
                only_failed=only_failed,
                keeps_probabilities=probabilities,
            )
            summary = process_batch(source, model, output, options, data_root=root, progress=progress)
            if shadow is not None:
                from medseg.workflows.segmenting.shadow import run_shadow

                run_shadow(output, shadow, options, progress=progress)
    if dry_run:
        print_plan(found, limit)
        return
    print_summary(summary, output)
    if shadow is not None:
        typer.echo(f"how {shadow} differs: medseg models shadow {output}")
    if summary.has_failures:
        raise typer.Exit(SOME_FAILED)


def _engine(
    name: Literal["local", "ray"],
    address: str | None,
    workers: int | None,
    threads: int | None,
    device: InferenceDevice,
) -> LocalEngineConfig | RayEngineConfig:
    """Raises InputError where an address is given that the engine has no use for."""
    from medseg.core.errors import InputError
    from medseg.jobs.local_engine import LocalEngineConfig
    from medseg.jobs.ray_engine import RayEngineConfig

    if name == "ray":
        gpus = {"cuda": 1, "auto": None}.get(device, 0)
        return RayEngineConfig(address=address, workers=workers, threads=threads, gpus=gpus)
    if address is not None:
        raise InputError("--address names a Ray cluster; the local engine has none. Add --engine ray.")
    return LocalEngineConfig(workers=workers, threads=threads)


def print_plan(found: FoundScans, limit: int | None) -> None:
    """What would be segmented, and what would not and why."""
    print_table(
        ("scan", "source"),
        [(scan.name, ", ".join(map(str, scan.sources.values()))) for scan in found.scans[:limit]],
        "would be segmented",
    )
    for passed in found.passed_over:
        typer.echo(f"passed over: {passed.path}: {passed.reason}")


def print_summary(summary: BatchSummary, output: Path) -> None:
    """How many scans ended how, then each that was set aside with its reason."""
    counts = [(state, str(count)) for state, count in summary.states.items() if count]
    print_table(
        ("scans", str(sum(summary.states.values()))),
        [
            *counts,
            ("begun in this run", str(summary.submitted)),
            ("files or series passed over", str(summary.passed_over)),
            ("seconds", f"{summary.duration_s:.1f}"),
        ],
    )
    for record in summary.failures:
        typer.echo(f"set aside: {record.job.arguments.get('name')}: {record.reason}")
    typer.echo(f"{output}: what became of every file is in manifest.jsonl")


COMMANDS = (batch,)
