"""Versions of a registry in an MLflow model registry, and back: each under its content's hash, checked on the way.

A version of MLflow holds the bundle's files as artifacts of a run, and the tags medseg.sha256, medseg.task and
medseg.origin. Aliases of the two registries are kept apart: who is champion here is decided here, by the gate.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from medseg.core.errors import InputError
from medseg.models.mlflow_client import artifacts_beside, clear_mlflow_errors, open_client
from medseg.models.registry.index import Version
from medseg.models.registry.registry import Registry

EXPERIMENT, ARTIFACTS = "medseg models", "model"
SHA_TAG = "medseg.sha256"
_WHAT = "an MLflow registry"
_MEND = "Check the URI, and whether its server runs."


def push_version(registry: Registry, name: str, uri: str, model_name: str | None = None) -> tuple[str, str]:
    """The name and the number that a version has in the MLflow registry at `uri`; those of before where it is there.

    `model_name` is the registered model's; without it the task's name. Raises StoreError where the version cannot be
    loaded, InputError where the store cannot be used.
    """
    version, model = registry.version(name), registry.load(name)
    client = open_client(uri, _WHAT, _MEND)
    wanted = model_name or model.spec.task.name
    with clear_mlflow_errors(uri, _MEND):
        known = _versions(client, wanted)
        for one in known or ():
            if one.tags.get(SHA_TAG) == version.sha256:
                return wanted, str(one.version)
        if known is None:
            client.create_registered_model(wanted)
        run = client.create_run(_experiment(client, uri), run_name=f"{wanted} {version.sha256[:12]}")
        client.log_artifacts(run.info.run_id, str(registry.folder_of(version)), ARTIFACTS)
        client.set_terminated(run.info.run_id)
        tags = {SHA_TAG: version.sha256, "medseg.task": model.spec.task.name, "medseg.origin": version.origin}
        source = f"{run.info.artifact_uri}/{ARTIFACTS}"
        made = client.create_model_version(wanted, source, run.info.run_id, tags=tags)
    return wanted, str(made.version)


def pull_version(registry: Registry, uri: str, model_name: str, number: str | None = None) -> Version:
    """The version here of a model in the MLflow registry at `uri`: its newest, or that of a number.

    Raises InputError where there is none, or it is not of medseg; StoreError where it is not the model it was.
    """
    client = open_client(uri, _WHAT, _MEND)
    with clear_mlflow_errors(uri, _MEND), tempfile.TemporaryDirectory() as place:
        known = {str(one.version): one for one in _versions(client, model_name) or ()}
        if not known or (number is not None and number not in known):
            listed = f"its versions are {', '.join(known)}" if known else "it has none"
            raise InputError(f"the MLflow registry {uri} has no version {number or 'at all'} of {model_name}; {listed}")
        chosen = known[number or max(known, key=int)]
        sha256 = chosen.tags.get(SHA_TAG)
        if sha256 is None:
            raise InputError(
                f"version {chosen.version} of {model_name} in {uri} is not a model of medseg: no {SHA_TAG}"
            )
        folder = Path(client.download_artifacts(chosen.run_id, ARTIFACTS, place))
        version = registry.add(folder, origin=f"{model_name} {chosen.version} of {uri}")
    if version.sha256 != sha256:
        raise InputError(f"version {chosen.version} of {model_name} in {uri} is not the model that was pushed there")
    return version


def _versions(client: Any, name: str) -> list[Any] | None:
    """The versions of a registered model, oldest first; None where there is no such model."""
    quoted = name.replace("'", "\\'")
    if not client.search_registered_models(f"name = '{quoted}'"):
        return None
    return sorted(client.search_model_versions(f"name = '{quoted}'"), key=lambda one: int(one.version))


def _experiment(client: Any, uri: str) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return str(known.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts_beside(uri)))
