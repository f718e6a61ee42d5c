"""Spans by OpenTelemetry of requests and of the stages that they wait for: nothing, at no cost, until `traced` switches them on.

Attributes are routes, statuses and counts, never ids, captions or keys; an error is told by its kind alone, as its message
may hold any of these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from opentelemetry.trace import SpanKind, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The standard variables that say where spans are sent to; without either nothing is traced."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "http/protobuf"
Attributes = dict[str, str | int]
_tracer: Tracer | None = None


@contextmanager
def traced() -> Iterator[None]:
    """In the block spans are made and sent, if the standard variables (OTEL_…) want that; in the end those that are left.

    Where they do, and the extra `telemetry` is not installed, it warns: a cluster may set them for all that runs on it.
    """
    global _tracer
    if not _is_wanted():
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        structlog.get_logger().warning(
            "no traces are sent, though an endpoint is set",
            hint="pip install 'nbclip-kg-service[telemetry]', or OTEL_SDK_DISABLED=true",
        )
        yield
        return
    _warn_of_protocol()
    provider = TracerProvider(resource=Resource.create(_name()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("kg_service")
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def _is_wanted() -> bool:
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER", "") == "none"
    return not off and any(os.environ.get(name) for name in ENDPOINTS)


def _warn_of_protocol() -> None:
    wanted = next(filter(None, map(os.environ.get, _PROTOCOLS)), _OURS)
    if wanted != _OURS:
        structlog.get_logger().warning(f"traces are sent by {_OURS}, not by {wanted}", hint=f"{_PROTOCOLS[1]}={_OURS}")


def _name() -> dict[str, str]:
    """The service's, unless the variables have one."""
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if named else {"service.name": "kg-service"}


@contextmanager
def answering(headers: Mapping[str, str]) -> Iterator[Attributes]:
    """The span of a request, in the trace that its headers name; it gets the attributes that are put into what is yielded."""
    told: Attributes = {}
    if _tracer is None:
        yield told
        return
    from opentelemetry.trace import SpanKind

    with _span(_tracer, "request", told, SpanKind.SERVER, headers):
        yield told


@contextmanager
def stage(name: str, **counts: int) -> Iterator[None]:
    """The span of a stage of the current request."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    with _span(_tracer, name, {f"nbclip.{key}": count for key, count in counts.items()}, SpanKind.INTERNAL):
        yield


@contextmanager
def _span(
    tracer: Tracer, name: str, told: Attributes, kind: SpanKind, headers: Mapping[str, str] | None = None
) -> Iterator[None]:
    from opentelemetry import propagate
    from opentelemetry.trace import StatusCode

    context = None if headers is None else propagate.extract(headers)
    with tracer.start_as_current_span(
        name, context=context, kind=kind, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.set_attributes(told)
            if "http.route" in told:
                span.update_name(f"{told['http.request.method']} {told['http.route']}")
            if int(told.get("http.response.status_code", 0)) >= 500:
                span.set_status(StatusCode.ERROR)
