"""The settings of a run in its folder, `config.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from nbclip.errors import BrokenArtefact

from nbclip_trainer.config.reading import config_of
from nbclip_trainer.config.tree import TrainConfig, shape_of, to_yaml
from nbclip_trainer.losses.table import own_parameters
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.folder import check_equal, read_text

_NAME = "config.yaml"


def has_config(run_dir: Path) -> bool:
    """Whether a run was started in the folder."""
    return (run_dir / _NAME).is_file()


def read_config(run_dir: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings a run was started with, with `a.b=c` overrides laid over them.

    Raises:
        NotFound: the folder holds no run.
        BrokenArtefact: the file is damaged.
        InvalidInput: an unknown key, a value out of its range.
    """
    path = run_dir / _NAME
    try:
        tree = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise BrokenArtefact(f"{path}: not YAML", hint="restore it or train again") from error
    if not isinstance(tree, dict):
        raise BrokenArtefact(f"{path}: not the settings of a run", hint="restore it or train again")
    if isinstance(tree.get("loss"), dict):
        # What other losses were told had no effect on this run.
        tree["loss"] = own_parameters(tree["loss"], whatever_their_values=True)
    if isinstance(tree.get("data"), dict):
        # A run that does not say began before there was a choice.
        tree["data"].setdefault("resize", "pillow")
    return config_of(tree, overrides)


def write_config(run_dir: Path, config: TrainConfig) -> None:
    """Writes the resolved settings."""
    with replacing(run_dir / _NAME) as path:
        path.write_text(to_yaml(config), encoding="utf-8")


def check_same_shape(run_dir: Path, config: TrainConfig) -> None:
    """Raises Conflict, naming the first one, if settings differ that would have trained other weights."""
    check_equal(run_dir, shape_of(read_config(run_dir)), shape_of(config))
