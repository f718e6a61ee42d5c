"""Runs on an index, beside runs on the files that it was made of."""

import polars as pl
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.data.indexing import write_index
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.models.captions import encoding_of
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.folder import read_facts, same_data
from nbclip_trainer.runs.quarantine import read_quarantine
from nbclip_trainer.runs.results import read_scored
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training.loop import train
from support.waiting import StopAfter

ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip", "data.workers=1")


def losses(run_dir):
    return [(record["kind"], record["step"], record["loss"]) for record in read_metrics(run_dir) if "loss" in record]


def same_weights(run_dir, other):
    first, second = (load_checkpoint(folder).tensors for folder in (run_dir, other))
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def indexed(config, folder):
    """The same settings on an index; it is made in this process, since another takes seconds to start."""
    write_index(folder, config.data.model_copy(update={"workers": 0}), encoding_of(config.model), part_rows=7)
    return config.model_copy(update={"data": config.data.model_copy(update={"files": (folder,)})})


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("tiny-clip", ()),
        ("tiny-nbclip", ON_DISK),
        ("tiny-clip", ("data.train_split=null", "data.valid_split=null", "targets.duplicates=positive")),
    ],
)
def test_a_run_on_an_index_is_bit_identical_to_one_on_its_files(small, tmp_path, service, preset, overrides):
    config = load_config(preset, small(f"service.url={service.url}", "data.workers=0", *overrides))
    train(config, tmp_path / "plain")
    train(indexed(config, tmp_path / "index"), tmp_path / "indexed")
    assert losses(tmp_path / "indexed") == losses(tmp_path / "plain")
    assert same_weights(tmp_path / "indexed", tmp_path / "plain")
    plain, found = (read_facts(tmp_path / name) for name in ("plain", "indexed"))
    assert found["data"] == plain["data"]
    assert found["targets"] == plain["targets"]


def test_a_run_goes_on_with_an_index_where_it_began_on_files(small, write_pairs, tmp_path):
    path = write_pairs()
    (path.parent / "3.png").write_bytes(b"no image")
    config = load_config("tiny-clip", small(*ON_DISK, "data.max_bad_share=0.1", "data.check=none", data=path))
    train(config, tmp_path / "straight")
    train(config, tmp_path / "run", stop=StopAfter(4))
    assert train(indexed(config, tmp_path / "index"), tmp_path / "run", resume=True).finished
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert same_weights(tmp_path / "run", tmp_path / "straight")
    assert [one.image_id for one in read_quarantine(tmp_path / "run")] == ["id3"]
    straight, run = (read_facts(tmp_path / name)["data"] for name in ("straight", "run"))
    assert same_data(run) == same_data(straight)


def test_an_index_is_scored_as_its_files_are(runs, tmp_path):
    config, files = read_config(runs[0]), read_scored(runs[0])
    indexed(config, tmp_path / "index")
    evaluate_run(runs[0], [tmp_path / "index"], protocol=files.evaluation.protocol, out=tmp_path / "scored")
    index = pl.read_parquet(tmp_path / "scored" / "queries.parquet")
    assert index.equals(files.queries)


def test_a_snapshot_is_asked_once_what_it_knows_of_an_index(small, tmp_path, service):
    service.without = {"id3"}
    config = indexed(load_config("tiny-nbclip", small(f"service.url={service.url}", "data.workers=0")), tmp_path / "index")

    def flagged():
        return [body for body in service.asked if body["on_unknown"] == "flag"]

    train(config, tmp_path / "first", stop=StopAfter(1))
    asked = len(flagged())
    assert asked
    train(config, tmp_path / "second", stop=StopAfter(1))
    assert len(flagged()) == asked
    first, second = (read_facts(tmp_path / name)["targets"] for name in ("first", "second"))
    assert first == second
    assert first["without_knowledge"] > 0
    other = config.model_copy(update={"targets": config.targets.model_copy(update={"knowledge": "dk"})})
    train(other, tmp_path / "other", stop=StopAfter(1))
    assert len(flagged()) > asked


def test_images_that_a_snapshot_lacks_are_asked_for_until_it_has_them(small, tmp_path, service):
    config = indexed(load_config("tiny-nbclip", small(f"service.url={service.url}", "data.workers=0")), tmp_path / "index")
    held_later, service.unknown = service.unknown, {*service.unknown, "id3"}
    for name in ("first", "second"):
        with pytest.raises(InvalidInput, match=r"lacks 1 of 24 training images: id3;"):
            train(config, tmp_path / name)
    service.unknown = held_later
    assert train(config, tmp_path / "third").finished
