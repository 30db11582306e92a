"""`medseg serve` and what goes with it: config, status, retry, quarantine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.console import print_table
from medseg.core.errors import InputError
from medseg.core.extras import require_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medseg.settings.model import Settings
    from medseg.settings.sources import Loaded
    from medseg.workflows.service.standing import StatusRow

PACKAGES = ("dicomweb_client", "prometheus_client", "pynetdicom", "requests")
"""What the extra network brings."""

UNWELL = 3
"""Exit code of `status` where something is set aside, held, not running or not let in, and of `config check` where it
errs."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The settings.  [default: MEDSEG_CONFIG, else medseg.toml here]", show_default=False
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Lay a value over the file's; again for several."),
]
IdentifyOption = Annotated[
    bool, typer.Option("--identify", help="Show the UIDs of study and series too; they are not for logs.")
]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="What status calls it.  [default: all]", show_default=False)
]

config_app = typer.Typer(help="Show and check the settings of the service.", no_args_is_help=True)
quarantine_app = typer.Typer(help="What failed or is held: list it, let it pass.", no_args_is_help=True)


def serve(config: ConfigOption = None, settings: SetOption = None) -> None:
    """Watch an archive, segment what the routes are for, store the results; until SIGTERM or Ctrl-C."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.serve import serve as workflow

    workflow(wanted)


def status(
    config: ConfigOption = None,
    settings: SetOption = None,
    identify: IdentifyOption = False,
    shows_all: Annotated[bool, typer.Option("--all", help="Show what is done and passed over too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How the service stands: what waits, what was set aside and why. Exit code 3 where something needs a person."""
    wanted = service_settings(config, settings)
    from dataclasses import asdict

    from medseg.workflows.service.standing import read_status

    found = read_status(wanted)
    quiet = ("done", "passed over")
    rows = [row for row in found.rows if shows_all or row.state not in quiet]
    health = "no service answers" if found.health is None else found.health or "ok"
    if as_json:
        shown = [asdict(row) for row in rows]
        for row in shown if not identify else ():
            del row["study_uid"], row["series_uid"]
        told = {"health": health, "archive": found.archive, "to_mend": found.to_mend}
        typer.echo(json.dumps({**told, "jobs": found.counts, "series": shown}, indent=1))
    else:
        counts = [(state, str(count)) for state, count in found.counts.items()]
        passed = sum(row.state == "passed over" for row in found.rows)
        print_table(("jobs", str(sum(found.counts.values()))), [*counts, ("series passed over", str(passed))])
        _print_rows(rows, identify=identify)
        typer.echo(f"service: {health}")
        typer.echo(f"archive: {found.archive}")
        for text in found.to_mend:
            typer.echo(f"to be mended: {text}")
    if found.to_mend or found.health != "" or any(row.state in ("quarantined", "held") for row in found.rows):
        raise typer.Exit(UNWELL)


def retry(name: NameArgument = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Try jobs again that failed, all of them or one."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.standing import retry as workflow

    _say_count(workflow(wanted, name), "tried again", name)


@quarantine_app.command("list")
def quarantine_list(config: ConfigOption = None, settings: SetOption = None, identify: IdentifyOption = False) -> None:
    """Jobs that failed and series that are held, each with its reason."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.standing import quarantined

    rows = quarantined(wanted)
    _print_rows(rows, identify=identify)
    typer.echo(f"{len(rows)} set aside")


@quarantine_app.command("release")
def quarantine_release(
    name: NameArgument = None,
    takes_all: Annotated[bool, typer.Option("--all", help="Everything that is set aside.")] = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Let a held series be processed as it is, or a failed job be tried again."""
    if (name is None) != takes_all:
        raise InputError("give the name of what is to be released, as `medseg quarantine list` shows it, or --all")
    wanted = service_settings(config, settings)
    from medseg.workflows.service.standing import release

    _say_count(release(wanted, name), "released", name)


@config_app.command("show")
def config_show(config: ConfigOption = None, settings: SetOption = None) -> None:
    """Every value and where it came from; secrets are not shown."""
    loaded = _loaded(config, settings)
    print_table(("name", "value", "from"), loaded.rows())


@config_app.command("check")
def config_check(
    config: ConfigOption = None,
    settings: SetOption = None,
    asks: Annotated[bool, typer.Option("--ask", help="Ask the archive and the destinations too.")] = False,
) -> None:
    """What would not work: models, formats, folders, secrets, and with --ask the archives. Exit code 3 for errors."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.check import check_settings

    remarks = check_settings(wanted, asks=asks)
    for remark in remarks:
        typer.echo(f"{remark.kind}: {remark.where}: {remark.text}")
    if any(remark.kind == "error" for remark in remarks):
        raise typer.Exit(UNWELL)
    typer.echo("the settings can be used")


def service_settings(config: Path | None, flags: Sequence[str] | None) -> Settings:
    """The settings, for what needs the extra network. Raises InputError where that is not installed."""
    require_extra("the service", "network", PACKAGES)
    return _loaded(config, flags).settings


def _loaded(config: Path | None, flags: Sequence[str] | None) -> Loaded:
    """The settings; the environment is read here, at the edge."""
    from medseg.settings.sources import FILE, read_settings

    named = config or (Path(os.environ["MEDSEG_CONFIG"]) if "MEDSEG_CONFIG" in os.environ else None)
    file = named or (Path(FILE) if Path(FILE).is_file() else None)
    return read_settings(file, os.environ, flags or ())


def _print_rows(rows: Sequence[StatusRow], *, identify: bool) -> None:
    if not rows:
        return
    uids = ("study", "series") if identify else ()
    print_table(
        ("name", "state", "route", "reason", *uids),
        [
            (row.name, row.state, row.route, row.reason, *((row.study_uid, row.series_uid) if identify else ()))
            for row in rows
        ],
    )


def _say_count(count: int, done: str, name: str | None) -> None:
    """Raises InputError where a name was given and nothing bears it."""
    if name is not None and not count:
        raise InputError(f"nothing that was set aside is called {name}; see `medseg quarantine list`")
    typer.echo(f"{count} {done}")


COMMANDS = (serve, status, retry)
