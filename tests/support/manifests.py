"""The manifests of `deploy/kubernetes`, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
MANIFESTS: list[tuple[str, dict[str, Any]]] = [
    (path.name, document)
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]
"""Each with the name of its file."""


def named(kind: str, name: str = "kg-replicas") -> dict[str, Any]:
    """The only one of this kind and name."""
    (found,) = [document for _, document in MANIFESTS if (document["kind"], document["metadata"]["name"]) == (kind, name)]
    return found


DEPLOYMENT = named("Deployment")
REPLICA: dict[str, Any] = DEPLOYMENT["spec"]["template"]
PODS: dict[str, dict[str, Any]] = {
    name: document["spec"]["template"] for name, document in MANIFESTS if document["kind"] in ("Deployment", "Job")
}
"""By the name of the file."""


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Its only one."""
    (only,) = pod["spec"]["containers"]
    return only


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """Its variables, from their ConfigMaps."""
    maps = [named("ConfigMap", source["configMapRef"]["name"]) for source in container(pod)["envFrom"]]
    return {name: value for each in maps for name, value in each["data"].items()}


def mounts(pod: dict[str, Any]) -> dict[str, tuple[dict[str, Any], bool]]:
    """By path what is mounted there, and whether the pod may write to it."""
    volumes = {each["name"]: {kind: what for kind, what in each.items() if kind != "name"} for each in pod["spec"]["volumes"]}
    return {each["mountPath"]: (volumes[each["name"]], not each.get("readOnly")) for each in container(pod)["volumeMounts"]}
