"""Which model the settings mean: open_clip's config of it, and where its tokenizer and its weights come from.

A recipe is what open_clip keeps in a folder that `local-dir:` and the hub take: `open_clip_config.json`, the files of a Hugging
Face tokenizer, and beyond that the `config.json` of a Hugging Face text tower, without which that tower would have to be looked
up by a name. A run's folder holds its recipe as `model/`, so that the model can be built again from there alone.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip
from nbclip.errors import BrokenArtefact, InvalidInput
from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from nbclip_trainer.models.settings import ModelSettings

THIS_FOLDER = "."
_LOCAL, _HUB = "local-dir:", "hf-hub:"
_WEIGHTS = (HF_SAFE_WEIGHTS_NAME, "open_clip_pytorch_model.safetensors", HF_WEIGHTS_NAME, "open_clip_pytorch_model.pth")
_TOKENIZERS = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model that is not built yet.

    Attributes:
        config: the `model_cfg` of an `open_clip_config.json`.
        preprocess: what is known of its input, keys of open_clip's `PreprocessCfg`.
        folder: where the files of tokenizer and text tower may lie.
    """

    config: Mapping[str, Any]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def text(self) -> Mapping[str, Any]:
        """Its `text_cfg`."""
        return self.config["text_cfg"]  # type: ignore[no-any-return]

    @property
    def context_length(self) -> int:
        """Tokens of a caption."""
        return int(self.text.get("context_length", 77))

    @property
    def text_tower(self) -> str | None:
        """Folder or ORG/NAME of a Hugging Face text tower."""
        return self._source("hf_model_name", "config.json")

    @property
    def brings_text_weights(self) -> bool:
        """Whether that text tower has weights of its own; a folder of open_clip's has them in the whole model's, or none."""
        return bool(self.text_tower and self.text_tower != str(self.folder) and self.text.get("hf_model_pretrained", True))

    @property
    def tokenizer(self) -> str | None:
        """Folder or ORG/NAME of a Hugging Face tokenizer."""
        return self._source("hf_tokenizer_name", *_TOKENIZERS)

    def elsewhere(self) -> Recipe:
        """The same for another place, where names of local folders mean nothing: they become `.`, the folder it is written to."""
        text = {
            key: THIS_FOLDER if key in ("hf_model_name", "hf_tokenizer_name") and _is_place(value) else value
            for key, value in self.text.items()
        }
        return replace(self, config={**self.config, "text_cfg": text})

    def _source(self, key: str, *files: str) -> str | None:
        """The recipe's own folder where it has one of the files, else what the key names."""
        name = self.text.get(key)
        if not name:
            return None
        if self.folder is not None and any((self.folder / file).is_file() for file in files):
            return str(self.folder)
        return str(Path(name).expanduser()) if name.startswith("~") else str(name)


def recipe_of(settings: ModelSettings) -> Recipe:
    """The model that the settings name; raises InvalidInput where there is none."""
    recipe = _named(settings)
    overlay = {"mean": settings.mean, "std": settings.std, "resize_mode": settings.resize}
    config = copy.deepcopy(dict(recipe.config))
    if settings.context_length is not None:
        config["text_cfg"]["context_length"] = settings.context_length
    return Recipe(config, {**recipe.preprocess, **{key: value for key, value in overlay.items() if value}}, recipe.folder)


def read_recipe(folder: Path) -> Recipe:
    """The recipe in a folder, as open_clip's `local-dir:` has it.

    Raises:
        InvalidInput: no such folder, or no model in it.
        BrokenArtefact: its config is damaged.
    """
    path = folder / HF_CONFIG_NAME
    try:
        return _read(path, folder)
    except OSError as error:
        raise InvalidInput(
            f"model.name={_LOCAL}{folder}: no {HF_CONFIG_NAME} is there", hint="open_clip's folders hold it beside the weights"
        ) from error


def has_recipe(folder: Path) -> bool:
    """Whether `read_recipe` finds one there."""
    return (folder / str(HF_CONFIG_NAME)).is_file()


def weights_of(settings: ModelSettings) -> Path | None:
    """The file or run that `pretrained` names, or else the weights that `name` brings; downloads what is not there yet.

    Raises:
        InvalidInput: `pretrained` is neither a file, nor a run, nor a tag that fits `name`.
    """
    if settings.pretrained is not None:
        path = Path(settings.pretrained).expanduser()
        return path if path.exists() else Path(open_clip.download_pretrained(_checked_tag(settings)))
    if settings.architecture is None and settings.name.startswith(_LOCAL):
        folder = _folder(settings)
        return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if settings.architecture is None and settings.name.startswith(_HUB):
        return Path(download_pretrained_from_hf(settings.name.removeprefix(_HUB)))
    return None


def place_left_out(name: str) -> str:
    """A name without the folders above it, if it is that of a file or folder of this machine."""
    scheme = _LOCAL if name.startswith(_LOCAL) else ""
    path = name.removeprefix(scheme)
    return scheme + Path(path).name if scheme or _is_place(path) else name


def _is_place(name: object) -> bool:
    """Whether a name is that of a file or folder, and not ORG/NAME or a tag."""
    return isinstance(name, str) and (name.startswith((".", "/", "~")) or Path(name).exists())


def _named(settings: ModelSettings) -> Recipe:
    if settings.architecture is not None:
        _check_no_other_model(settings)
        return Recipe(settings.architecture.as_open_clip_keeps_it())
    if settings.name.startswith(_LOCAL):
        return read_recipe(_folder(settings))
    if settings.name.startswith(_HUB):
        found = download_pretrained_from_hf(settings.name.removeprefix(_HUB), filename=HF_CONFIG_NAME)
        return _read(Path(found), None)
    return Recipe(_listed(settings), _tag(settings))


def _check_no_other_model(settings: ModelSettings) -> None:
    """Raises InvalidInput where the name is a model's: the architecture, perhaps a preset's, would take its place unsaid."""
    name = settings.name
    is_a_model = name.startswith((_LOCAL, _HUB)) or name in open_clip.list_models()
    if is_a_model and name != ModelSettings().name:
        raise InvalidInput(
            f"model.name={name!r} names a model, and model.architecture describes another one",
            hint="to take the named one: model.architecture=null, and image_weights and text_weights too if the preset has them",
        )


def _folder(settings: ModelSettings) -> Path:
    return Path(settings.name.removeprefix(_LOCAL)).expanduser()


def _read(path: Path, folder: Path | None) -> Recipe:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe(read["model_cfg"], read.get("preprocess_cfg", {}), folder)
        if not isinstance(recipe.text, Mapping):
            raise TypeError("text_cfg is no mapping")
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{path}: not the config of an open_clip model: {error!r}", hint="restore it") from error
    return recipe


def _listed(settings: ModelSettings) -> dict[str, Any]:
    config = open_clip.get_model_config(settings.name)
    if config is None:
        close = difflib.get_close_matches(settings.name, open_clip.list_models(), 5, 0.3)
        raise InvalidInput(
            f"model.name={settings.name!r}: open_clip has no such model", hint=f"similar names: {', '.join(close)}"
        )
    return config  # type: ignore[no-any-return]


def _tag(settings: ModelSettings) -> Mapping[str, Any]:
    """How images were prepared for the weights of a tag; of a file nothing is known."""
    if settings.pretrained is None:
        return {}
    tag = open_clip.get_pretrained_cfg(settings.name, settings.pretrained)
    return merge_preprocess_dict(asdict(PreprocessCfg()), tag)  # type: ignore[no-any-return]


def _checked_tag(settings: ModelSettings) -> dict[str, Any]:
    """A tag's weights; refuses before any download what open_clip lacks or only warns of."""
    tag, refused = settings.pretrained, f"model.pretrained={settings.pretrained!r}: neither a file nor a run"
    if settings.architecture is not None:
        raise InvalidInput(refused, hint="check the path")
    if ":" in settings.name:
        raise InvalidInput(
            f"{refused}; {settings.name} brings weights of its own", hint="leave model.pretrained out, or set it to null"
        )
    weights = open_clip.get_pretrained_cfg(settings.name, tag)
    if not weights:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(settings.name))
        raise InvalidInput(f"{refused}, nor a tag of {settings.name}", hint=f"tags: {tags or 'none'}")
    quick = bool(weights.get("quick_gelu"))
    if quick != bool(_listed(settings).get("quick_gelu")):
        raise InvalidInput(
            f"model.pretrained={tag!r} was made with another activation than model.name={settings.name!r} has",
            hint=f"use model.name={settings.name}-quickgelu" if quick else "drop -quickgelu from model.name",
        )
    return weights  # type: ignore[no-any-return]
