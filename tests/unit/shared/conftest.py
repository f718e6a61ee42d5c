"""The service that client and trainer are tested with."""

from support.knowledge_service import service  # noqa: F401 - a fixture
