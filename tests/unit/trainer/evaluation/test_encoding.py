"""An evaluation by several ranks over gloo is that of one process."""

import shutil

import numpy as np
import pytest
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.evaluation import encoding
from nbclip_trainer.evaluation.encoding import encode_pairs
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.runs.results import read_scored
from nbclip_trainer.trained.loading import load_run
from support.ranks import run_ranks


def evaluated(world, run, protocol):
    encoding._BATCH = 10
    return str(evaluate_run(run, protocol=protocol, with_probe=True, world=world))


def test_two_ranks_write_the_evaluation_that_one_process_writes(runs, tmp_path, monkeypatch):
    protocol = read_scored(runs[0]).evaluation.protocol
    alone, shared = (shutil.copytree(runs[0], tmp_path / name / "clip") for name in ("alone", "shared"))
    monkeypatch.setattr(encoding, "_BATCH", 10)
    evaluate_run(alone, protocol=protocol, with_probe=True)
    assert run_ranks(evaluated, shared, protocol) == [str(shared / "evaluation" / "metrics.json")] * 2
    one, two = read_scored(alone), read_scored(shared)
    assert one.evaluation == two.evaluation
    assert one.queries.equals(two.queries)
    assert all(np.allclose(one.features[name], two.features[name], atol=1e-6) for name in one.features)


def encoded(world, run, files, captions):
    return encode_pairs(load_run(run), files, captions, 10**8, world)


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_batches_than_ranks_leave_a_rank_idle(runs, metadata, count):
    dataset = read_dataset([metadata]).take(range(count))
    first, second = run_ranks(encoded, runs[0], dataset.files, dataset.captions)
    assert first.keys() == second.keys() == {"image", "backbone", "caption", "caption_backbone", "raw pixels"}
    assert all(np.array_equal(first[name], second[name]) and len(first[name]) == count for name in first)
