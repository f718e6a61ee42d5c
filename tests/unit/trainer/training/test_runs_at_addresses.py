"""Runs on shards and Parquet of a web server, beside runs on the same files of this machine."""

import csv
import io
import tarfile
from dataclasses import replace

import polars as pl
import pytest
import torch
from nbclip.errors import InvalidInput, NotFound, Unavailable
from nbclip.files import remote
from nbclip.files.addresses import location
from nbclip_trainer.cli.main import app
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data.checking import check_images
from nbclip_trainer.data.indexing import write_index
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.models.captions import encoding_of
from nbclip_trainer.report.report import write_report
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.results import read_scored
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training.loop import train
from support.file_server import serving_files
from support.waiting import StopAfter
from typer.testing import CliRunner

ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip", "data.check=decode")


@pytest.fixture
def server():
    with serving_files() as files:
        yield files


@pytest.fixture
def stored(write_pairs, tmp_path):
    """The pairs of `write_pairs` in two shards of 12 and one of 8, and in Parquet with their images; the folder of both."""
    table, folder = write_pairs(), tmp_path / "stored"
    folder.mkdir()
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, part in {"train-000": rows[:12], "train-001": rows[12:24], "valid-000": rows[24:]}.items():
        images = [(table.parent / row["file"]).read_bytes() for row in part]
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for row, image in zip(part, images, strict=True):
                for suffix, content in (("png", image), ("txt", row["caption"].encode())):
                    info = tarfile.TarInfo(f"{row['image_id']}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        columns = {name: [row[name] for row in part] for name in ("image_id", "caption", "split")}
        pl.DataFrame(columns | {"image": images}).write_parquet(folder / f"{name}.parquet", row_group_size=5)
    return folder


@pytest.fixture
def served(stored, server):
    """The same at an address."""
    server.files |= {path.name: path.read_bytes() for path in stored.iterdir()}
    return server.url


def config_on(small, files, *overrides):
    return load_config("tiny-clip", [*small(*ON_DISK, *overrides, data="none"), f"data.files={[str(file) for file in files]}"])


def shards(folder):
    return [f"{folder}/train-{{000..001}}.tar", f"{folder}/valid-000.tar"]


def indexed(config, folder):
    # Without workers: processes that encode would take seconds to start.
    write_index(folder, config.data.model_copy(update={"workers": 0}), encoding_of(config.model), part_rows=7)
    return config.model_copy(update={"data": config.data.model_copy(update={"files": (folder,)})})


def losses(run_dir):
    return [(record["kind"], record["step"], record["loss"]) for record in read_metrics(run_dir) if "loss" in record]


def same_weights(run_dir, other):
    first, second = (load_checkpoint(folder).tensors for folder in (run_dir, other))
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_a_run_at_an_address_is_bit_identical_to_one_on_the_same_files(small, stored, served, server, tmp_path, suffix):
    names = [f"{name}.{suffix}" for name in ("train-000", "train-001", "valid-000")]
    server.failing = dict.fromkeys(range(0, 200, 9), "drop")
    for name, folder in (("here", stored), ("there", served)):
        config = config_on(small, [f"{folder}/{each}" for each in names], "data.workers=2")
        train(config, tmp_path / name)
        train(indexed(config, tmp_path / f"{name}.index"), tmp_path / f"{name}-indexed")
    for name in ("there", "here-indexed", "there-indexed"):
        assert losses(tmp_path / name) == losses(tmp_path / "here")
        assert same_weights(tmp_path / name, tmp_path / "here")


def test_a_run_at_an_address_goes_on_bit_for_bit_where_it_stopped(small, stored, served, tmp_path):
    train(config_on(small, shards(stored), "data.workers=0"), tmp_path / "straight")
    config = indexed(config_on(small, shards(served), "data.workers=2"), tmp_path / "index")
    train(config, tmp_path / "run", stop=StopAfter(4))
    assert train(config, tmp_path / "run", resume=True).finished
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert same_weights(tmp_path / "run", tmp_path / "straight")


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_what_is_in_the_cache_is_not_read_again(small, stored, served, server, tmp_path, suffix):
    names = [f"{name}.{suffix}" for name in ("train-000", "train-001", "valid-000")]
    cached = ("data.pictures=cache", "augmentation.kind=none")
    here = config_on(small, [stored / name for name in names], *cached, f"data.cache={tmp_path / 'cache'}")
    train(here, tmp_path / "here")
    there = config_on(small, [f"{served}/{name}" for name in names], *cached, f"data.cache={tmp_path / 'other'}")
    config = indexed(there, tmp_path / "index")
    train(config, tmp_path / "first")
    server.asked.clear()
    train(config, tmp_path / "second")
    assert not [span for _, _, span in server.asked if span]
    for name in ("first", "second"):
        assert losses(tmp_path / name) == losses(tmp_path / "here")


@pytest.mark.parametrize("check", ["none", "headers", "decode"])
@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_an_index_reads_each_file_once_and_finds_what_it_does_here(small, stored, served, server, tmp_path, suffix, check):
    names = [f"{name}.{suffix}" for name in ("train-000", "train-001", "valid-000")]
    for name in names:
        damaged = server.files[name].replace(b"\x89PNG", b"\0\0\0\0", 2)
        (stored / name).write_bytes(damaged)
        server.files[name] = damaged
    found = []
    for name, folder in (("here", stored), ("there", served)):
        config = config_on(small, [f"{folder}/{each}" for each in names], f"data.check={check}")
        data = open_dataset(indexed(config, tmp_path / name).data)
        bad = check_images(data, config.data).bad
        found.append(({row: reason.replace(str(folder), "") for row, reason in bad.items()}, data.digest(), list(data.ids)))
    assert found[0] == found[1]
    assert len(found[0][0]) == (0 if check == "none" else 6)
    assert {name: server.bytes_sent(name) for name in names} == {name: len(server.files[name]) for name in names}


def test_a_table_names_images_beside_it_and_a_missing_one_is_a_bad_image(small, write_pairs, server, tmp_path):
    table = write_pairs()
    server.files |= {f"data/{path.name}": path.read_bytes() for path in table.parent.iterdir()}
    del server.files["data/7.png"]
    (table.parent / "7.png").unlink()
    few = ("data.max_bad_share=0.1", "data.workers=2")
    train(config_on(small, [table], *few), tmp_path / "here")
    there = config_on(small, [f"{server.url}/data/{table.name}"], *few)
    train(there, tmp_path / "there")
    assert losses(tmp_path / "there") == losses(tmp_path / "here")
    [reason] = check_images(open_dataset(there.data), there.data).bad.values()
    assert reason == f"{server.url}/data/7.png: there is no such file"


def test_data_at_an_address_are_scored_as_files_here_are(runs, metadata, server, tmp_path):
    server.files |= {f"data/{path.name}": path.read_bytes() for path in metadata.parent.iterdir()}
    here = read_scored(runs[0])
    data = location(f"{server.url}/data/metadata.csv")
    evaluate_run(runs[0], [data], protocol=here.evaluation.protocol, out=tmp_path / "scored")
    there = read_scored(tmp_path / "scored")
    assert there.queries.equals(here.queries)
    assert [file.path for file in there.evaluation.data] == [data.url]
    assert write_report([tmp_path / "scored"], tmp_path / "report.html").is_file()


class _Stop(Exception):
    """The end of a process."""


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_an_index_that_was_stopped_reads_only_what_was_not_read(small, served, server, tmp_path, monkeypatch, stop_after):
    config = config_on(small, shards(served), "data.workers=0", "data.max_bad_row_share=0.5")
    names = ["train-000.tar", "train-001.tar", "valid-000.tar"]
    # A caption that is empty, and an image that can't be decoded.
    server.files[names[0]] = server.files[names[0]].replace(b"picture 3 of the", b" " * 16).replace(b"spine", b" " * 5)
    server.files[names[1]] = server.files[names[1]].replace(b"\x89PNG", b"\0\0\0\0", 1)
    straight = indexed(config, tmp_path / "straight").data.files[0]
    server.asked.clear()
    whole, written = encoding_of(config.model), []

    def encode(captions):
        if len(written) == stop_after:
            raise _Stop
        written.append(len(captions))
        return whole.encode(captions)

    with pytest.raises(_Stop):
        write_index(tmp_path / "index", config.data, replace(whole, encode=encode), part_rows=7)
    server.asked.clear()
    write_index(tmp_path / "index", config.data, whole, part_rows=7)
    begun = 7 * stop_after // 12
    assert [server.bytes_sent(name) > 0 for name in names] == [place >= begun for place in range(3)]
    assert (straight / "bad_rows.txt").read_text().startswith(f"{served}/train-000.tar:4: ")
    files = {file.relative_to(straight) for file in straight.rglob("*") if file.is_file()}
    assert files == {file.relative_to(tmp_path / "index") for file in (tmp_path / "index").rglob("*") if file.is_file()}
    assert all((straight / file).read_bytes() == (tmp_path / "index" / file).read_bytes() for file in files)


@pytest.mark.parametrize("change", ["longer", "other content of one length", "gone"])
def test_a_shard_that_was_replaced_is_refused(small, served, server, tmp_path, change):
    config = indexed(config_on(small, shards(served)), tmp_path / "index")
    content = server.files["train-001.tar"]
    server.files["train-001.tar"] = content + bytes(512) if change == "longer" else content[::-1]
    if change == "gone":
        del server.files["train-001.tar"]
    said = "gone" if change == "gone" else "changed"
    with pytest.raises(InvalidInput, match=rf"{served}/train-001\.tar: {said} since .*index was made of it.*make it again"):
        open_dataset(config.data)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (503, Unavailable, r"no answer for \d s \(status 503\)"),
        (404, NotFound, "no such file"),
        (403, InvalidInput, "status 403"),
    ],
)
def test_a_shard_that_goes_away_ends_a_run_with_its_name_and_no_image_is_called_bad(
    small, served, server, tmp_path, monkeypatch, workers, status, kind, says
):
    monkeypatch.setattr(remote, "PATIENCE", 0.5)
    config = indexed(config_on(small, shards(served), f"data.workers={workers}"), tmp_path / "index")
    read = len([span for _, _, span in server.asked if span])
    server.failing = dict.fromkeys(range(read + 6, read + 10_000), status)
    with pytest.raises(kind, match=rf"^{served}/(train|valid)-\d+\.tar: .*{says}") as refused:
        train(config, tmp_path / "run")
    assert type(refused.value) is kind
    assert "\n" not in str(refused.value)


def test_commands_take_addresses_and_refuse_secrets_in_them(served, tmp_path):
    no_valid = ("--set", "data.valid_split=null", "--set", "data.workers=0", "--set", "device.threads=1")
    made = CliRunner().invoke(
        app, ["index", "--data", f"{served}/train-*.tar", "--out", str(tmp_path / "index"), *no_valid], catch_exceptions=False
    )
    assert f"{tmp_path / 'index'}: 24 pairs, 24 train" in made.output
    found = CliRunner().invoke(app, ["validate", "--data", f"{served}/train-{{000,001}}.tar", *no_valid], catch_exceptions=False)
    assert "24 pairs, all good: 24 train" in found.output
    signed = f"{served}/x.tar?sig=SIGNATURE".replace("http://", "http://me:SIGNATURE@")  # pragma: allowlist secret
    for data in (signed, f"{served}/x.tar?SIGNATURE"):
        refused = CliRunner().invoke(app, ["train", "--preset", "tiny-clip", "--data", data, "--run", str(tmp_path / "run")])
        assert isinstance(refused.exception, InvalidInput)
        assert "SIGNATURE" not in f"{refused.output}{refused.exception}"
        with pytest.raises(InvalidInput) as same:
            load_config("tiny-clip", [f"data.files=['{data}']"])
        assert "SIGNATURE" not in str(same.value)
    assert not (tmp_path / "run").exists()
    assert not [path for path in (tmp_path / "index").rglob("*") if path.is_file() and b"SIGNATURE" in path.read_bytes()]
