"""How several processes share the tests out."""

from __future__ import annotations

import re

from xdist.scheduler import LoadFileScheduling

USES_NEO4J = re.compile(r"tests/(contract|integration/neo4j|support/neo4j)/|test_copy_and_export|test_batch_in_neo4j")
# Folders and files that take long, the longest first: begun late, one would leave a process to work alone.
LONGEST_FIRST = (
    "tests/e2e/",
    "neo4j",
    "tests/faults/test_service_killed.py",
    "tests/faults/test_killed.py",
    "tests/unit/trainer/parallel/test_ranks.py",
    "tests/faults/",
    "tests/packages/test_installed.py",
    "tests/unit/trainer/training/test_loop.py",
    "tests/unit/trainer/experiments/test_experiment.py",
    "tests/unit/trainer/training/test_features.py",
    "tests/unit/deploy/test_slurm.py",
    "tests/integration/api/test_jobs.py",
    "tests/integration/api/test_publication_jobs.py",
    "tests/integration/api/test_process.py",
    "tests/integration/api/test_connections.py",
    "tests/integration/api/test_page_views.py",
    "tests/unit/trainer/training/test_indexed_runs.py",
    "tests/unit/trainer/training/test_gradient_cache.py",
    "tests/unit/trainer/training/test_beside_open_clip.py",
    "tests/unit/benchmarks/test_vocabulary.py",
    "tests/unit/benchmarks/test_linking_run.py",
)


class ByFile(LoadFileScheduling):
    """A file's tests stay in one process, and so do all tests of the one Neo4j database."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "neo4j" if USES_NEO4J.search(file) else file

    def _assign_work_unit(self, node):
        long = (unit for place in LONGEST_FIRST for unit in self.workqueue if unit.startswith(place))
        if longest := next(long, None):
            self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)
