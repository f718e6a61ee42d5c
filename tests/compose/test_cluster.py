"""A Ray head, two workers and a batch, as `docker compose --profile cluster up batch` makes them."""

from __future__ import annotations

import re

import pytest
from support.compose import is_confined, output, settle

pytestmark = pytest.mark.timeout(2400)
LOCAL = """
kg-service vocabulary build /rrf && cd /pairs
kg-service batch plan $CAPTIONS $KG_DATA/work $INGEST_OPTIONS --shard-rows 700
kg-service batch run $KG_DATA/work --workers 2
kg-service batch publish $KG_DATA/work --split $SPLIT
"""
LINKED = "ls /data/batches/{}/done 2>/dev/null | wc -l"
JOIN = ["ray-head", "ray", "start", "--address=ray-head:6379", "--num-cpus=0"]


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    product = settle(tmp_path_factory.mktemp("cluster"))
    product.variables["COMPOSE_PROFILES"] = "cluster"
    try:
        product.compose("build", "kg-service", "ray-head")
        yield product
    finally:
        product.compose("--profile", "*", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module")
def local_id(product):
    """The snapshot of the same captions that processes of one container link, in the image without Ray."""
    alone = ["run", "--rm", "--no-deps", "-T", "--env", "KG_DATA=/tmp/local", "--entrypoint", "sh", "load", "-euc"]
    return published(product.compose(*alone, LOCAL))


def published(printed):
    """The snapshot whose id was printed last."""
    return re.findall(r"^[0-9a-f]{64}$", printed, re.MULTILINE)[-1]


def said_by_batch(product):
    return product.compose("logs", "--no-log-prefix", "--no-color", "batch")


def test_the_cluster_links_what_one_container_links(product, local_id):
    product.compose("up", "batch")
    (batch,) = product.inspected("batch")
    assert batch["State"]["ExitCode"] == 0
    assert published(said_by_batch(product)) == local_id


def test_a_worker_that_is_killed_loses_nothing(product, local_id):
    batch = begin(product, "worker")
    killed, other = product.inspected("ray-worker")
    output("docker", "kill", killed["Id"])
    assert linked(product, "worker") < 2_371
    assert output("docker", "wait", batch).strip() == "0", said_by_batch(product)
    assert published(said_by_batch(product)) == local_id
    assert linked(product, "worker") == 2_371
    states = {each["Id"]: each["State"] for each in product.inspected("ray-worker")}
    assert (states[killed["Id"]]["ExitCode"], states[other["Id"]]["Running"]) == (137, True)


def test_a_head_that_is_killed_and_started_again_loses_nothing(product, local_id):
    batch = begin(product, "head")
    (head,) = product.inspected("ray-head")
    output("docker", "restart", "--time", "0", head["Id"])
    assert linked(product, "head") < 2_371
    assert output("docker", "wait", batch).strip() == "0", said_by_batch(product)
    assert published(said_by_batch(product)) == local_id
    assert linked(product, "head") == 2_371


def begin(product, name):
    """Starts a batch of so many shards that a container can be killed between some and all; its id, once some are linked."""
    product.variables.update(NBCLIP_BATCH=name, NBCLIP_BATCH_OPTIONS="--relink --shard-rows 2")
    product.compose("up", "--detach", "batch")
    product.compose("exec", "-T", "ray-head", "sh", "-c", f"until [ $({LINKED.format(name)}) -gt 50 ]; do sleep 0.1; done")
    return product.inspected("batch")[0]["Id"]


def linked(product, name):
    return int(product.compose("exec", "-T", "ray-head", "sh", "-c", LINKED.format(name)))


def test_its_containers_are_confined(product):
    containers = product.inspected("ray-head", "ray-worker", "batch")
    assert len(containers) == 4
    assert all(is_confined(each) for each in containers)


def test_who_lacks_the_token_does_not_join(product):
    with pytest.raises(RuntimeError, match=r"(?i)token"):
        product.compose("run", "--rm", "--no-deps", "-T", "--env", f"RAY_AUTH_TOKEN={'f' * 64}", "--entrypoint", "", *JOIN)
    product.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "", *JOIN)


def test_ray_is_in_its_own_image_alone(product):
    asked = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "python"]
    assert product.compose(*asked, "ray-head", "-c", "import ray; print(ray.__version__)")
    with pytest.raises(RuntimeError, match="No module named 'ray'"):
        product.compose(*asked, "load", "-c", "import ray")
