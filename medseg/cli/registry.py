"""`medseg models`: the versions of a registry, and which of them is the champion."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.console import print_table

app = typer.Typer(help="Keep models: versions, champion and challenger, import and export.", no_args_is_help=True)

RegistryArgument = Annotated[
    Path, typer.Argument(metavar="REGISTRY", help="The registry's folder.", show_default=False)
]
VersionArgument = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="An alias, a number, or the first digits of a hash.", show_default=False),
]
AliasOption = Annotated[str, typer.Option("--alias", help="Which alias to move.")]
PersonOption = Annotated[str | None, typer.Option("--by", help="Who decides.  [default: you]", show_default=False)]


@app.command(name="list")
def list_(registry: RegistryArgument) -> None:
    """Every version with its aliases, then every move of an alias."""
    from medseg.models.registry.registry import Registry

    models = Registry(registry)
    aliases = models.aliases()
    print_table(
        ("version", "aliases", "hash", "name", "added"),
        [
            (
                str(version.number),
                ", ".join(alias for alias, number in aliases.items() if number == version.number),
                version.sha256[:12],
                version.name,
                f"{version.added:%Y-%m-%d %H:%M}",
            )
            for version in models.versions()
        ],
    )
    for move in models.history():
        to = "back to" if move.kind == "back" else "to"
        typer.echo(f"{move.made:%Y-%m-%d %H:%M} {move.alias} {to} {move.number} by {move.person}: {move.reason}")


@app.command(name="import")
def import_(
    registry: RegistryArgument,
    source: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle's folder or a .zip.", show_default=False)],
    alias: Annotated[str | None, typer.Option("--alias", help="Point this alias at it.", show_default=False)] = None,
    person: PersonOption = None,
) -> None:
    """Add a model; the first one becomes the champion."""
    from medseg.models.registry.archive import import_model
    from medseg.models.registry.registry import CHAMPION, Registry

    models = Registry(registry)
    version = import_model(models, source)
    wanted = alias or (None if models.aliases() else CHAMPION)
    if wanted:
        models.point(wanted, str(version.number), person=person or getpass.getuser(), reason="imported")
    typer.echo(f"{registry}: version {version.number}{f', the {wanted}' if wanted else ''} ({version.sha256[:12]})")


@app.command()
def export(
    registry: RegistryArgument,
    version: VersionArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .zip to write.", show_default=False)],
) -> None:
    """Write a model as one .zip that another registry imports."""
    from medseg.models.registry.archive import export_version
    from medseg.models.registry.registry import Registry

    written = export_version(Registry(registry), version, output)
    typer.echo(f"{output}: version {written.number} ({written.sha256[:12]})")


@app.command()
def promote(
    registry: RegistryArgument,
    version: VersionArgument,
    reason: Annotated[str, typer.Option("--because", help="Why.", show_default=False)],
    alias: AliasOption = "champion",
    person: PersonOption = None,
) -> None:
    """Make a version the champion, in one step."""
    from medseg.models.registry.registry import Registry

    moved = Registry(registry).point(alias, version, person=person or getpass.getuser(), reason=reason)
    typer.echo(f"{registry}: the {alias} is version {moved.number} ({moved.sha256[:12]})")


@app.command()
def rollback(
    registry: RegistryArgument,
    reason: Annotated[str, typer.Option("--because", help="Why.", show_default=False)],
    alias: AliasOption = "champion",
    person: PersonOption = None,
) -> None:
    """Go back to the champion of before, in one step."""
    from medseg.models.registry.registry import Registry

    moved = Registry(registry).roll_back(alias, person=person or getpass.getuser(), reason=reason)
    typer.echo(f"{registry}: the {alias} is version {moved.number} again ({moved.sha256[:12]})")
