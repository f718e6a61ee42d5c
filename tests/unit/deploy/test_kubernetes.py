"""The manifests for Kubernetes: valid by its schemas, and agreeing with each other and with the service."""

import os
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kg_service.api.application import create_app
from kg_service.app.keys import add_key, refuse_open_bind
from kg_service.app.settings import check_settings, unknown_variables
from kg_service.config import load_settings
from nbclip.errors import Busy, InvalidInput, Unavailable
from starlette.testclient import TestClient
from support.manifests import DEPLOYMENT, FOLDER, MANIFESTS, PODS, REPLICA, container, environment, mounts, named

ROOT = Path(__file__).parents[3]
JOBS = ("batch-plan", "batch-run", "batch-publish")
OF_OTHERS = {"NUMBA_CACHE_DIR"}
"""Variables that are no settings of the service."""
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_the_schemas_of_kubernetes(version):
    for name, document in MANIFESTS:
        found = kubernetes_validate.validate(document, version, strict=True)
        assert found == version, name


def test_the_schemas_refuse_what_is_misspelt_or_of_another_type():
    for harm in ({"minReplica": 2}, {"minReplicas": "two"}):
        scaler = named("HorizontalPodAutoscaler")
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate({**scaler, "spec": {**scaler["spec"], **harm}}, VERSIONS[-1], strict=True)


def test_all_but_the_jobs_are_applied_together():
    applied = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert set(applied) == {"apiVersion", "kind", "resources", "images"}
    assert set(applied["resources"]) == {name for name, _ in MANIFESTS} - {f"{job}.yaml" for job in JOBS}
    (image,) = applied["images"]
    assert {container(pod)["image"] for pod in PODS.values()} == {f"{image['name']}:{image['newTag']}"}
    assert f"image: {image['name']}:{image['newTag']}" in (ROOT / "docker-compose.yml").read_text()


def test_no_manifest_names_a_namespace_or_holds_a_secret():
    assert not any("namespace" in document["metadata"] for _, document in MANIFESTS)
    assert not any(document["kind"] == "Secret" for _, document in MANIFESTS)


def test_what_is_named_is_there():
    claims = {document["metadata"]["name"] for _, document in MANIFESTS if document["kind"] == "PersistentVolumeClaim"}
    for pod in PODS.values():
        for volume, _ in mounts(pod).values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {*claims, None}
            assert volume.get("projected", {}).get("sources") in ([{"secret": {"name": "kg-keys"}}], None)
    labels = REPLICA["metadata"]["labels"].items()
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        named("Service")["spec"]["selector"],
        named("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        named("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in REPLICA["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    target = named("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (DEPLOYMENT["kind"], DEPLOYMENT["metadata"]["name"])
    assert "replicas" not in DEPLOYMENT["spec"], "applying it again would undo the scaling"


def test_what_is_scaled_by_is_requested():
    (metric,) = named("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["resource"]["name"] in container(REPLICA)["resources"]["requests"]


@each_pod
def test_pods_are_confined(pod):
    user, group = re.search(r"^USER (\d+):(\d+)$", (ROOT / "kg_service" / "Dockerfile").read_text(), re.MULTILINE).groups()
    own, inside = pod["spec"]["securityContext"], container(pod)["securityContext"]
    assert (own["runAsNonRoot"], own["runAsUser"], own["runAsGroup"]) == (True, int(user), int(group))
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    # Variables that the cluster makes of a Service called kg would be settings: KG_PORT=tcp://…
    assert (pod["spec"]["automountServiceAccountToken"], pod["spec"]["enableServiceLinks"]) == (False, False)
    assert {"requests", "limits"} == set(container(pod)["resources"])


@each_pod
def test_every_variable_is_a_setting_and_every_path_is_mounted(pod, monkeypatch):
    for name in [name for name in os.environ if name.startswith("KG_")]:
        monkeypatch.delenv(name)
    given = environment(pod)
    for name in set(given) - OF_OTHERS:
        monkeypatch.setenv(name, given[name])
    settings = load_settings()
    check_settings(settings)
    assert unknown_variables(settings) == []
    assert {name.removeprefix("KG_").lower() for name in set(given) - OF_OTHERS} <= settings.model_fields_set
    places = mounts(pod)
    assert str(settings.data) in places
    assert places[str(Path(given["NUMBA_CACHE_DIR"]).parent)][1], "compiled kernels are written"


def test_a_replica_reads_alone_and_writes_into_its_own_folder():
    places = mounts(REPLICA)
    assert {path for path, (_, writes) in places.items() if writes} == {"/tmp"}
    assert set(places["/tmp"][0]) == {"emptyDir"}
    assert places["/data"][0]["persistentVolumeClaim"] == {"claimName": "kg-data", "readOnly": True}


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """The settings of a replica, on a folder and a key of this test."""
    for name, value in environment(REPLICA).items():
        monkeypatch.setenv(name, value)
    add_key(tmp_path / "keys.json", "trainers", ["read"])
    return load_settings(data=tmp_path, keys_file=tmp_path / "keys.json")


def test_the_ports_and_the_time_to_stop_are_the_services(deployed):
    pod = REPLICA["spec"]
    refuse_open_bind(deployed)
    (port,) = container(REPLICA)["ports"]
    (outside,) = named("Service")["spec"]["ports"]
    (allowed,) = named("NetworkPolicy")["spec"]["ingress"][0]["ports"]
    assert port["containerPort"] == deployed.port
    assert outside["targetPort"] == allowed["port"] == port["name"]
    assert pod["terminationGracePeriodSeconds"] > deployed.stop_s > deployed.drain_s


def test_probes_are_answered_as_a_cluster_sends_them(deployed):
    """To the pod's address, which is what the Host header says unless the manifest has another."""
    spec = container(REPLICA)
    with TestClient(create_app(deployed), base_url="http://10.1.2.3:8080") as client:
        assert client.get("/livez").status_code == 400
        answers = {}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = spec[probe]["httpGet"]
            assert asked["port"] == spec["ports"][0]["name"]
            headers = {each["name"]: each["value"] for each in asked["httpHeaders"]}
            answers[probe] = client.get(asked["path"], headers=headers)
        assert [answer.status_code for answer in answers.values()] == [200, 200, 503]
        assert answers["readinessProbe"].json()["detail"] == "not ready: snapshot"
        service = named("Service")["metadata"]["name"]
        for host in (service, f"{service}:8080", f"{service}.default.svc.cluster.local:8080"):
            assert client.get("/livez", headers={"host": host}).status_code == 200


def test_what_mends_itself_is_tried_again_and_the_rest_is_not():
    for job in JOBS:
        spec = named("Job", f"kg-{job}")["spec"]
        (given_up,) = [rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        codes = set(given_up["onExitCodes"]["values"])
        assert InvalidInput.exit_code in codes
        assert not codes & {Busy.exit_code, Unavailable.exit_code, 137}
        assert given_up["action"] == ("FailIndex" if spec.get("completionMode") == "Indexed" else "FailJob")


def test_every_index_of_the_job_has_its_part():
    spec = named("Job", "kg-batch-run")["spec"]
    (parts,) = re.findall(r'--shard "\$\(\(JOB_COMPLETION_INDEX \+ 1\)\)/(\d+)"', container(spec["template"])["command"][-1])
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", int(parts))
