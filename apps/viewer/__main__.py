"""`python -m apps.viewer FOLDER`: what `medseg view` starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from apps.viewer.access.names import LOCALHOST
from apps.viewer.launch import DEFAULT_PORT, launch_viewer
from medseg.core.errors import MedsegError
from medseg.settings.sources import read_settings

USER_ERROR = 2


def main(
    folder: Annotated[Path, typer.Argument(help="Results of `medseg segment`, or scans.")],
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = DEFAULT_PORT,
    address: Annotated[str, typer.Option(help="Address to bind; the default serves this machine only.")] = LOCALHOST,
    models: Annotated[Path | None, typer.Option(help="A folder below which models lie that the page may run.")] = None,
    access: Annotated[Path | None, typer.Option(help="A file that says who may log in, and in which role.")] = None,
    config: Annotated[Path | None, typer.Option(help="A medseg.toml that names archives to send to.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Look at segmented scans in a browser. Stop with Ctrl+C."""
    try:
        settings = read_settings(config, os.environ).settings if config is not None else None
        launch_viewer(folder, port, address, models=models, access=access, settings=settings, may_open_browser=browser)
    except MedsegError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USER_ERROR) from error


if __name__ == "__main__":
    typer.run(main)
