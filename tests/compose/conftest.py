"""The product as `docker compose up` makes it, in a project and on ports of its own."""

from __future__ import annotations

import pytest
from support.compose import Product, running


@pytest.fixture(scope="session")
def product(request, tmp_path_factory):
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line):
        with capture.global_and_fixture_disabled():
            request.config.get_terminal_writer().line(f"\n{line}")

    with running(tmp_path_factory.mktemp("compose"), say) as product:
        yield product


@pytest.fixture
def service(product: Product):
    with product.service("trainer") as client:
        yield client
