"""Figures on real boards: Weights & Biases offline, MLflow in a folder."""

import json
import os
import struct

import pytest
from mlflow import MlflowClient
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training.loop import train
from support.tcp import free_port
from support.waiting import StopAfter
from wandb.proto.wandb_internal_pb2 import Record

BOARDS = "log={boards: [wandb, mlflow], project: chest}"


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    """Nothing leaves this machine, and nothing is written elsewhere."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def losses(run_dir):
    return {record["step"]: record["loss"] for record in read_metrics(run_dir) if record["kind"] == "train"}


def mlflow_losses(run_id):
    return {metric.step: metric.value for metric in MlflowClient().get_metric_history(run_id, "train/loss")}


def leveldb_records(log):
    """Records of a LevelDB log, in blocks of 32 KiB: checksum (4 bytes), length (2), kind (1: whole, 2 to 4: parts), content."""
    at, parts, block = 0, b"", 1 << 15
    while at + 7 <= len(log):
        # The header of the file, 7 bytes, belongs to its first block.
        if block - (at + 7) % block < 7:
            at += block - (at + 7) % block
        length, kind = struct.unpack_from("<HB", log, at + 4)
        parts += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            yield parts
            parts = b""


def wandb_losses(run_dir):
    found = {}
    for path in run_dir.glob("wandb/offline-run-*/*.wandb"):
        for data in leveldb_records(path.read_bytes()[7:]):
            record = Record()
            record.ParseFromString(data)
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            if "train/loss" in row:
                found[row["step"]] = row["train/loss"]
    return found


def test_a_run_and_its_resumption_are_one_run_on_each_board(small, tmp_path):
    config, run_dir = load_config("tiny-clip", small(BOARDS)), tmp_path / "run"
    train(config, run_dir, stop=StopAfter(2))
    ids = json.loads((run_dir / "boards.json").read_text())
    train(config, run_dir, resume=True)
    assert json.loads((run_dir / "boards.json").read_text()) == ids
    [run] = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("chest").experiment_id])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (ids["mlflow"], "run", "FINISHED")
    assert run.data.params["optim.lr"] == str(config.optim.lr)
    assert {"valid/loss", "diagnostics/spearman"} & set(run.data.metrics) >= {"valid/loss"}
    assert len(losses(run_dir)) == 6
    assert mlflow_losses(ids["mlflow"]) == wandb_losses(run_dir) == losses(run_dir)
    assert {path.name.rpartition("-")[2] for path in run_dir.glob("wandb/offline-run-*")} == {ids["wandb"]}


def test_a_run_that_failed_is_shown_so(small, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr("nbclip_trainer.training.loop.train_step", broken)
    with pytest.raises(RuntimeError):
        train(load_config("tiny-clip", small("log.boards=[mlflow]")), tmp_path / "run")
    run_id = json.loads((tmp_path / "run" / "boards.json").read_text())["mlflow"]
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def test_a_board_that_is_not_installed_is_named_before_the_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.runs.boards.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"log.boards=wandb") as refused:
        train(load_config("tiny-clip", ["log.boards=[wandb]", "data.files=[none.csv]"]), tmp_path / "run")
    assert "nbclip-trainer[wandb]" in refused.value.hint


def test_a_server_of_mlflow_that_is_not_there_is_named_before_minutes_are_over(small, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with pytest.raises(InvalidInput, match=r"log.boards=mlflow: .*Max retries exceeded") as refused:
        train(load_config("tiny-clip", small("log.boards=[mlflow]")), tmp_path / "run")
    assert "names a server that is reached from here" in refused.value.hint
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_board_that_does_not_let_us_in_is_named(small, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(InvalidInput, match=r"log.boards=mlflow: .*tracking") as refused:
        train(load_config("tiny-clip", small("log.boards=[mlflow]")), tmp_path / "run")
    assert "MLFLOW_TRACKING_URI" in refused.value.hint
