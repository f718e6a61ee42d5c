"""What docker-compose.yml and the Dockerfiles must hold to, read without Docker."""

from __future__ import annotations

import re
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILES = ("kg_service/Dockerfile", "trainer/Dockerfile")
TRAINERS = ("trainer", "trainer-gpu")
CLUSTER = ("ray-head", "ray-worker", "batch")
OBSERVERS = ("prometheus", "grafana")
KNOWS_NEO4J = ("neo4j", "load", "kg-service")

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES)


def by_default(value):
    """The value with every variable unset."""
    return re.sub(r"\$\{[A-Z0-9_]+(?::?[-?]([^}]*))?\}", lambda match: match[1] or "", str(value))


def tag(image):
    """A tag that has a version and is not moved to another: `latest` and the like have none."""
    return re.fullmatch(r"[a-z0-9./-]+:v?(\d+\.\d+[a-z0-9.-]*)", image)


def secrets(service):
    return {each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())}


def seconds(duration):
    return float(re.fullmatch(r"(\d+)s", duration)[1])


def test_the_services_are_the_known_ones():
    assert set(SERVICES) == {*KNOWS_NEO4J, *TRAINERS, *CLUSTER, *OBSERVERS}
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {*TRAINERS, *CLUSTER, *OBSERVERS}


@each_service
def test_ports_are_published_on_loopback_alone(service):
    assert all(by_default(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


@each_service
def test_the_container_is_confined(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode", "devices"} & set(service)
    assert "docker.sock" not in str(service)


@each_service
def test_the_user_is_not_root(service):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])


@each_service
def test_resources_and_logs_are_limited(service):
    assert {"cpus", "memory", "pids"} == set(service["deploy"]["resources"]["limits"])
    assert {"max-size", "max-file"} == set(service["logging"]["options"])


@each_service
def test_signals_arrive_and_restarts_are_chosen(service):
    assert service.get("init") is True or service["entrypoint"][0] == "tini"
    assert service["restart"] in {"no", "unless-stopped"}
    assert seconds(service["stop_grace_period"]) > 20


@each_service
def test_what_runs_on_has_a_health_check_and_what_ends_has_none(service):
    assert ("test" in service["healthcheck"]) == (service["restart"] == "unless-stopped")
    assert service["healthcheck"] == {"disable": True} or service["healthcheck"]["retries"] > 1


@each_service
def test_the_image_is_pinned(service):
    assert tag(by_default(service["image"]))


def test_neo4j_is_a_patch_of_the_long_term_line():
    version = tag(by_default(SERVICES["neo4j"]["image"]))[1]
    line, patch = re.fullmatch(r"(5\.26)\.(\d+)-community", version).groups()
    assert line == "5.26"
    assert int(patch) >= 27


def test_every_secret_is_a_file_and_without_them_nothing_starts():
    assert all(set(secret) == {"file"} and "${NBCLIP_SECRETS" in secret["file"] for secret in COMPOSE["secrets"].values())
    assert re.search(r"\$\{NBCLIP_SECRETS:\?[^}]*make secrets", TEXT)


@each_service
def test_no_secret_is_in_the_environment(service):
    environment = {name: value for name, value in service.get("environment", {}).items() if name != "RAY_AUTH_MODE"}
    names = [name for name in environment if re.search("pass|secret|token|auth|key", name, re.I)]
    assert all(environment[name].startswith("/run/secrets/") for name in names)


def test_only_what_asks_neo4j_has_its_password_and_its_network():
    assert {name for name, service in SERVICES.items() if "neo4j_password" in secrets(service)} == set(KNOWS_NEO4J)
    assert {name for name, service in SERVICES.items() if "graph" in service["networks"]} == set(KNOWS_NEO4J)
    assert all(COMPOSE["networks"][name]["internal"] for name in ("graph", "training"))
    for name in TRAINERS:
        assert secrets(SERVICES[name]) == {"trainer_key"}
        assert not set(SERVICES[name]["networks"]) & set(SERVICES["neo4j"]["networks"])


def test_a_ray_cluster_asks_for_its_token_in_a_network_of_its_own_and_reports_to_nobody():
    assert {name for name, service in SERVICES.items() if "ray_token" in secrets(service)} == set(CLUSTER)
    assert {name for name, service in SERVICES.items() if "cluster" in service["networks"]} == set(CLUSTER)
    assert COMPOSE["networks"]["cluster"]["internal"]
    for name in CLUSTER:
        service = SERVICES[name]
        assert (service["networks"], secrets(service), "ports" in service) == (["cluster"], {"ray_token"}, False)
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "--include-dashboard=false" in SERVICES["ray-head"]["command"]


def test_who_observes_reaches_the_service_alone_and_nothing_outside():
    assert COMPOSE["networks"]["observe"]["internal"]
    assert {name for name, service in SERVICES.items() if "observe" in service["networks"]} == {"kg-service", *OBSERVERS}
    for name in OBSERVERS:
        assert SERVICES[name]["networks"] == ["observe", "loopback"]
        assert SERVICES[name]["profiles"] == ["observe"]


def test_prometheus_has_a_key_and_grafana_a_password_from_files():
    (scraped,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert secrets(SERVICES["prometheus"]) == {"trainer_key"}
    assert scraped["authorization"] == {"credentials_file": "/run/secrets/trainer_key"}
    assert secrets(SERVICES["grafana"]) == {"grafana_password"}
    options = RawConfigParser()
    options.read(ROOT / "deploy" / "grafana" / "grafana.ini")
    assert options["security"]["admin_password"] == "$__file{/run/secrets/grafana_password}"
    assert not options.getboolean("auth.anonymous", "enabled")


def test_ray_is_in_no_image_but_its_own():
    with_ray = {name for name, service in SERVICES.items() if service["image"].endswith("-ray")}
    assert with_ray == set(CLUSTER)
    assert {name for name, service in SERVICES.items() if "EXTRA" in service.get("build", {}).get("args", {})} == {"ray-head"}


def test_the_service_asks_for_keys_and_names_its_hosts():
    environment = SERVICES["kg-service"]["environment"]
    assert environment["KG_KEYS_FILE"] == "/run/secrets/keys.json"
    assert "*" not in environment["KG_TRUSTED_HOSTS"]


def test_a_folder_of_the_users_is_read_only_and_never_made():
    mounts = [mount for service in SERVICES.values() for mount in service["volumes"]]
    own = [mount for mount in mounts if isinstance(mount, dict)]
    assert len(own) == 8
    assert all(mount["read_only"] and mount["bind"] == {"create_host_path": False} for mount in own)
    assert all(mount.endswith(":ro") for mount in mounts if isinstance(mount, str) and mount.startswith("."))


@each_dockerfile
def test_base_images_and_uv_are_pinned(path):
    text = (ROOT / path).read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.M)
    assert bases
    assert all(tag(base) for base in bases)
    assert re.search(r"^ARG UV_VERSION=\d+\.\d+\.\d+$", text, re.M)
    assert text.count("uv sync") == text.count("uv sync --locked --no-dev --no-editable") == 2


@each_dockerfile
def test_the_image_runs_as_the_user_that_compose_names(path):
    last_stage = (ROOT / path).read_text().rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\S+)$", last_stage, re.M)
    users = {service["user"] for service in SERVICES.values() if service.get("build", {}).get("dockerfile") == path}
    assert users == {user}


def test_a_builder_is_given_nothing_by_default():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    given = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert given == ["pyproject.toml", "uv.lock", "shared", "kg_service", "trainer"]


def test_git_never_sees_the_secrets():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/secrets/", "/.env"} <= set(ignored)
