"""An MLflow store, by its URI: the client, its faults as sentences, and where its files go. By the extra `mlflow`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.core.errors import InputError
from medseg.core.extras import require_extra

PACKAGES = ("mlflow", "sqlalchemy", "alembic")


def open_client(uri: str, what: str, mend: str) -> Any:
    """The client of a store. Raises InputError where MLflow is missing, which `what` needs, or the URI is none."""
    require_extra(what, "mlflow", PACKAGES)
    # MLflow reports each use to its makers unless this is set before it is imported; a hospital wants no such calls
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    with clear_mlflow_errors(uri, mend):
        return MlflowClient(uri, registry_uri=uri)


@contextmanager
def clear_mlflow_errors(uri: str, mend: str) -> Iterator[None]:
    """Turn what the store at `uri` refuses into an InputError that ends with how to mend it."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the MLflow store {uri} cannot be used: {reason}. {mend}") from error


def artifacts_beside(uri: str) -> str | None:
    """Where the files of a SQLite store go: beside it. MLflow would take the folder that the command was called in."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlflow_artifacts").as_uri()
