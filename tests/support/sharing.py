"""How several processes share the tests out."""

from __future__ import annotations

import re

from xdist.scheduler import LoadFileScheduling

USES_NEO4J = re.compile(r"tests/(contract|integration/neo4j|support/neo4j)/|test_copy_and_export")
# What takes over half a minute, the longest first: begun late, it would leave one process to work alone.
LONGEST_FIRST = (
    "neo4j",
    "tests/e2e/test_demo.py",
    "tests/unit/trainer/parallel/test_ranks.py",
    "tests/unit/trainer/experiments/test_experiment.py",
    "tests/faults/test_killed.py",
    "tests/faults/test_service_killed.py",
    "tests/unit/trainer/training/test_loop.py",
    "tests/faults/test_silent.py",
    "tests/faults/test_away.py",
    "tests/faults/test_training.py",
    "tests/faults/test_disk_full.py",
    "tests/faults/test_commands_killed.py",
    "tests/unit/deploy/test_slurm.py",
)


class ByFile(LoadFileScheduling):
    """A file's tests stay in one process, and so do all tests of the one Neo4j database."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "neo4j" if USES_NEO4J.search(file) else file

    def _assign_work_unit(self, node):
        if longest := next((unit for unit in LONGEST_FIRST if unit in self.workqueue), None):
            self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)
