"""A run as a folder that `open_clip.create_model("local-dir:FOLDER")` loads and the Hugging Face hub takes, with a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import open_clip
from jinja2 import Environment, PackageLoader, StrictUndefined
from nbclip.errors import Conflict, NotFound
from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from nbclip_trainer.config.tree import TrainConfig, to_yaml
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.quarantine import read_quarantine
from nbclip_trainer.runs.results import ENSEMBLE, LINKED_TASK, Figure, Scored, read_scored
from nbclip_trainer.trained.loading import load_run

CARD = "README.md"
_SHOWN = (
    *("Recall@1", "Recall@5", "Recall@10", "median rank"),
    *("P@5", "P@10", "P@30", "mAP", "cui_coverage@10", "cui_precision@10", "accuracy", ENSEMBLE, "macro-F1", "AUC"),
)


def export_run(run_dir: Path, out: Path, checkpoint: Literal["last", "best"] = "last") -> Path:
    """Writes weights (safetensors), open_clip's config, the run's settings and a model card.

    Args:
        run_dir: a folder that `nbclip train` wrote.
        out: the new folder; it appears whole or not at all.
        checkpoint: which of the run's checkpoints.

    Returns:
        `out`.

    Raises:
        Conflict: `out` is there already.
        NotFound: no run or checkpoint.
    """
    if out.exists():
        raise Conflict(f"{out} already exists", hint="choose another --out, or remove it")
    loaded = load_run(run_dir, checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        save_file(
            {name: tensor.contiguous() for name, tensor in loaded.model.state_dict().items()}, scratch / HF_SAFE_WEIGHTS_NAME
        )
        save_config_for_hf(loaded.model, scratch / HF_CONFIG_NAME, _model_config(loaded.config))
        (scratch / "config.yaml").write_text(to_yaml(_without_places(loaded.config)), encoding="utf-8")
        (scratch / CARD).write_text(model_card(run_dir, loaded.config), encoding="utf-8")
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def model_card(run_dir: Path, config: TrainConfig) -> str:
    """What was trained on what, from which knowledge, how well it does, and what binds who uses it; in Markdown."""
    facts, scored = read_facts(run_dir), _scored(run_dir)
    # Markdown, in which nothing is escaped.
    loader = PackageLoader("nbclip_trainer.trained", "")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True)  # noqa: S701 # nosec B701
    return environment.get_template("card.md.j2").render(
        name=run_dir.resolve().name,
        config=config,
        targets={"snapshot": None, "vocabulary": None, **facts["targets"]},
        data=facts["data"],
        bad_rows=facts.get("bad_rows", {}).get("count"),
        left_out=len(read_quarantine(run_dir)),
        # What comes behind the colon names cases and files, and is no reader's business.
        leaks=[leak.partition(":")[0] for leak in facts.get("leaks", ())],
        versions=facts["versions"],
        git=facts["git"],
        task_names={LINKED_TASK: "CUIs by the linker, not gold"},
        evaluation=scored and scored.evaluation,
        figures=[] if scored is None else _shown_figures(scored),
        licences="" if scored is None else _licences(scored),
    )


def _scored(run_dir: Path) -> Scored | None:
    try:
        return read_scored(run_dir)
    except NotFound:
        return None


def _shown_figures(scored: Scored) -> list[Figure]:
    figures = scored.evaluation.figures
    ours = [figure for figure in figures if figure.ranker == "model" and figure.subset == "all" and figure.value is not None]
    return [figure for figure in ours if figure.metric in _SHOWN]


def _licences(scored: Scored) -> str:
    counts = Counter(scored.images["licence"].drop_nulls().to_list())
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())


def _model_config(config: TrainConfig) -> dict[str, Any]:
    """As open_clip keeps its models' configs."""
    settings = config.model
    named = open_clip.get_model_config(settings.name) if settings.architecture is None else settings.architecture.model_dump()
    bias = {"init_logit_bias": 0.0} if config.loss.has_bias else {}
    return json.loads(json.dumps({**(named or {}), **bias}))  # type: ignore[no-any-return]


def _without_places(config: TrainConfig) -> TrainConfig:
    """Paths and addresses of the machine that trained say nothing of the model, and something of a hospital."""
    return config.model_copy(
        update={
            "data": config.data.model_copy(
                update={"files": tuple(Path(path.name) for path in config.data.files), "features": None}
            ),
            "service": type(config.service)(),
        }
    )
