"""Writes dashboards/nbclip.json, by the types of Grafana's own SDK.

uv run python deploy/grafana/build.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueTextMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

DASHBOARD = Path(__file__).parent / "dashboards" / "nbclip.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
OURS = 'job="kg-service",instance=~"$instance"'
TARGETS = f'{OURS},handler=~"(/v1)?/targets"'
_WIDTH = 24
"""Columns of Grafana's grid."""
PARTS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class Line(NamedTuple):
    """What one line shows: PromQL, and its name in the legend."""

    expr: str
    legend: str


class Graph(NamedTuple):
    """A panel of lines over time; `unit` is Grafana's."""

    title: str
    says: str
    unit: str
    lines: Sequence[Line]


class Figure(NamedTuple):
    """A panel of one figure, or of the legends of its series where `names` is set."""

    title: str
    says: str
    unit: str
    line: Line
    names: bool = False


def _per_second(selector: str, by: str) -> str:
    return f"sum by ({by}) (rate({selector}[$__rate_interval]))"


def _quantile(part: float, labels: str, by: str) -> str:
    return f"histogram_quantile({part}, sum by ({by}) (rate(http_request_duration_seconds_bucket{{{labels}}}[$__rate_interval])))"


FIGURES = (
    Figure("Services up", "Of those that Prometheus asks.", "short", Line(f"sum(up{{{OURS}}})", "up")),
    Figure(
        "Not ready",
        "Probes of /readyz that were answered 503, per second.",
        "reqps",
        Line(f'sum(rate(http_requests_total{{{OURS},handler="/readyz",status="503"}}[$__rate_interval])) or vector(0)', "503"),
    ),
    Figure(
        "Current snapshot",
        "More than one: the replicas differ. None: there are no targets.",
        "short",
        Line(f"count by (snapshot) (snapshot_current_info{{{OURS}}})", "{{snapshot}}"),
        names=True,
    ),
    Figure(
        "Target rows per second",
        "Rows of targets and similarities that were answered.",
        "short",
        Line(f"sum(rate(target_rows_total{{{OURS}}}[$__rate_interval]))", "rows"),
    ),
    Figure("Upkeep fails", "1: jobs, appends or compactions fail.", "short", Line(f"max(upkeep_failing{{{OURS}}})", "fails")),
    Figure(
        "Disk left",
        "Of the data folder's.",
        "percentunit",
        Line(f"min(data_free_bytes{{{OURS}}} / data_size_bytes{{{OURS}}})", "left"),
    ),
)
ROWS: dict[str, Sequence[Graph]] = {
    "Requests": (
        Graph("Requests", "By route.", "reqps", [Line(_per_second(f"http_requests_total{{{OURS}}}", "handler"), "{{handler}}")]),
        Graph(
            "Errors",
            "Answers of 500 and above, by route and status.",
            "reqps",
            [Line(_per_second(f'http_requests_total{{{OURS},status=~"5.."}}', "handler, status"), "{{handler}} {{status}}")],
        ),
        Graph(
            "Refused",
            "Too many at once (429), too large (413), too slow (408), no or a wrong key (401, 403).",
            "reqps",
            [
                Line(
                    _per_second(f'http_requests_total{{{OURS},status=~"401|403|408|413|429"}}', "handler, status"),
                    "{{handler}} {{status}}",
                )
            ],
        ),
        *(
            Graph(f"Latency {name}", "By route.", "s", [Line(_quantile(part, OURS, "handler, le"), "{{handler}}")])
            for name, part in PARTS
        ),
    ),
    "Targets": (
        Graph(
            "Target rows per second",
            "By service.",
            "short",
            [Line(_per_second(f"target_rows_total{{{OURS}}}", "instance"), "{{instance}}")],
        ),
        Graph(
            "Wait for targets",
            "From the request to the last byte.",
            "s",
            [Line(_quantile(part, TARGETS, "le"), name) for name, part in PARTS],
        ),
        Graph(
            "Places taken",
            "At 100 % requests are refused (429).",
            "percentunit",
            [Line(f"places_taken{{{OURS}}} / places_limit{{{OURS}}}", "{{instance}} {{kind}}")],
        ),
    ),
    "Linking and ingest": (
        Graph(
            "Captions sent",
            "Requests to link, to store images, and bulk ingests.",
            "reqps",
            [
                Line(
                    _per_second(
                        f'http_requests_total{{{OURS},method="POST",handler=~"(/v1)?/(link|images|jobs/ingest)"}}', "handler"
                    ),
                    "{{handler}}",
                )
            ],
        ),
        Graph("Bulk ingest", "Rows per second.", "short", [Line(f"ingest_rows_per_second{{{OURS}}}", "{{instance}}")]),
        Graph(
            "Waiting",
            "Bytes of bulk ingests that are still to be read.",
            "bytes",
            [Line(f"ingest_waiting_bytes{{{OURS}}}", "{{instance}}")],
        ),
        Graph("Jobs", "By kind and state.", "short", [Line(f"sum by (kind, state) (jobs{{{OURS}}})", "{{kind}} {{state}}")]),
    ),
    "Replicas": (
        Graph(
            "Services by snapshot",
            "One line, unless replicas differ.",
            "short",
            [Line(f"count by (snapshot) (snapshot_current_info{{{OURS}}})", "{{snapshot}}")],
        ),
        Graph(
            "Still to verify",
            "Bytes of served snapshots.",
            "bytes",
            [Line(f"snapshot_unverified_bytes{{{OURS}}}", "{{instance}}")],
        ),
    ),
    "Process": (
        Graph(
            "Memory",
            "Resident, with what is mapped of snapshots.",
            "bytes",
            [Line(f"process_resident_memory_bytes{{{OURS}}}", "{{instance}}")],
        ),
        Graph("CPU", "Cores.", "short", [Line(f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])", "{{instance}}")]),
        Graph(
            "Open files",
            "Of those allowed.",
            "percentunit",
            [Line(f"process_open_fds{{{OURS}}} / process_max_fds{{{OURS}}}", "{{instance}}")],
        ),
        Graph("Disk left", "Of the data folder's.", "bytes", [Line(f"data_free_bytes{{{OURS}}}", "{{instance}}")]),
    ),
}


def built() -> str:
    """The dashboard as JSON."""
    board = (
        dashboard.Dashboard("NB-CLIP service")
        .uid("nbclip-service")
        .description("Is it ready, what does it serve, how fast, and what does it refuse?")
        .tags(["nbclip"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .annotations([])
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Service")
            .datasource(SOURCE)
            .query('label_values(up{job="kg-service"}, instance)')
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    number = count(1)
    for figure in FIGURES:
        board = board.with_panel(_figure(figure).id(next(number)))
    for title, graphs in ROWS.items():
        board = board.with_row(dashboard.Row(title).id(next(number)))
        for graph in graphs:
            board = board.with_panel(_graph(graph, _WIDTH // (len(graphs) if len(graphs) < 5 else 3)).id(next(number)))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _figure(figure: Figure) -> stat.Panel:
    panel = stat.Panel().title(figure.title).description(figure.says).unit(figure.unit).datasource(SOURCE).height(4).span(4)
    panel = panel.text_mode(BigValueTextMode.NAME if figure.names else BigValueTextMode.AUTO)
    return panel.with_target(_query(figure.line, "A").instant())


def _graph(graph: Graph, span: int) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    panel = timeseries.Panel().title(graph.title).description(graph.says).unit(graph.unit).datasource(SOURCE).height(8).span(span)
    panel = panel.min(0).fill_opacity(10).legend(legend)
    for name, line in zip(_names(), graph.lines, strict=False):
        panel = panel.with_target(_query(line, name))
    return panel


def _names() -> Iterator[str]:
    """A, B, C …, which Grafana calls a panel's queries."""
    yield from map(chr, range(ord("A"), ord("Z") + 1))


def _query(line: Line, name: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(line.expr).legend_format(line.legend).ref_id(name)


if __name__ == "__main__":
    DASHBOARD.write_text(built())
