"""The schema that /docs shows is the truth: generated requests never meet a server error or an undeclared answer."""

import shutil

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from kg_service.api.application import create_app
from kg_service.config import Settings, load_settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def app(tmp_path_factory, published, vocabulary_folder):
    data = shutil.copytree(published, tmp_path_factory.mktemp("schema") / "data")
    return create_app(load_settings(data=data, vocabulary=vocabulary_folder))


@schema.parametrize()
@settings(max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
def test_generated_requests_get_declared_answers(case, app):
    case.call_and_validate(app=app, base_url="http://localhost", checks=CHECKS)
