"""What is trained."""

from __future__ import annotations

from typing import Any, Literal, Self

from nbclip.schemas.base import Strict
from pydantic import Field, model_validator

_HUGGING_FACE = ("hf_model_pretrained", "hf_proj_type", "hf_pooler_type")


class Vision(Strict):
    """open_clip's `CLIPVisionCfg`: a timm model, or four `layers` for a ModifiedResNet, one number for a vision transformer."""

    image_size: int = Field(224, ge=32, description="side of an image in pixels")
    layers: tuple[int, int, int, int] | int = Field(
        12, description="number of layers of a vision transformer; four numbers: blocks of a ModifiedResNet"
    )
    width: int = Field(768, ge=1, description="width of the image tower")
    head_width: int = Field(64, ge=1, description="width of an attention head")
    patch_size: int = Field(16, ge=1, description="side of a patch in pixels; vision transformer only")
    timm_model_name: str | None = Field(
        None, description="timm's name of the image tower, instead of layers, width and patch_size"
    )
    timm_model_pretrained: bool = Field(False, description="download timm's weights; `model.image_weights` reads a file instead")
    timm_pool: str = Field("avg", description="pooling of the timm model: avg, token, map …; empty: its own")
    timm_proj: Literal["linear", "mlp", "none"] = Field(
        "linear", description="projection behind the timm model; none: it gives features of embed_dim by itself"
    )
    timm_drop_path: float | None = Field(None, ge=0, lt=1, description="stochastic depth of the timm model; null: its own")


MISSING_HINT = "check the path; `make weights` fetches what the preset small names"
"""Where weights or a folder are not there."""


class TokenizerOptions(Strict):
    """Options of the tokenizer; null: its own."""

    clean: Literal["lower", "whitespace", "canonicalize"] | None = Field(
        None, description="what happens to a caption first; canonicalize: SigLIP's way; null: lower for CLIP's, else whitespace"
    )
    do_lower_case: bool | None = Field(
        None, description="whether a Hugging Face tokenizer lowers captions, which BERT's do unless their folder says otherwise"
    )


class Text(Strict):
    """open_clip's `CLIPTextCfg`: a transformer of open_clip's, or one of Hugging Face's with the tokenizer that belongs to it."""

    context_length: int = Field(77, ge=4, description="tokens of a caption; longer ones are cut")
    vocab_size: int = Field(49408, description="number of tokens of the tokenizer")
    width: int = Field(512, ge=1, description="width of the text tower")
    heads: int = Field(8, ge=1, description="number of attention heads")
    layers: int = Field(12, ge=1, description="number of layers")
    hf_model_name: str | None = Field(
        None, description="Hugging Face text tower, a folder or ORG/NAME, instead of vocab_size, width, heads and layers"
    )
    hf_model_pretrained: bool = Field(True, description="take that tower's weights, not only its shape")
    hf_tokenizer_name: str | None = Field(None, description="its tokenizer, a folder or ORG/NAME; null: that of hf_model_name")
    hf_proj_type: Literal["linear", "mlp"] = Field("mlp", description="projection behind the Hugging Face tower")
    hf_pooler_type: Literal["mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler"] = Field(
        "mean_pooler", description="how its tokens become one vector; cls_pooler: through BERT's own pooling layer"
    )
    tokenizer_kwargs: TokenizerOptions = TokenizerOptions()


class Architecture(Strict):
    """A model that open_clip has no name for."""

    embed_dim: int = Field(512, ge=1, description="dimension of the features that both towers give")
    init_logit_bias: float | None = Field(
        None, description="give the model a logit bias, as SigLIP has; null: only with losses that learn one"
    )
    vision_cfg: Vision = Vision()
    text_cfg: Text = Text()

    def as_open_clip_keeps_it(self) -> dict[str, Any]:
        """The `model_cfg` of an `open_clip_config.json`."""
        config = self.model_dump(mode="json", exclude_none=True)
        vision, text = config["vision_cfg"], config["text_cfg"]
        if self.vision_cfg.timm_model_name is None:
            config["vision_cfg"] = {key: value for key, value in vision.items() if not key.startswith("timm_")}
        if self.text_cfg.hf_model_name is None:
            config["text_cfg"] = {key: value for key, value in text.items() if key not in _HUGGING_FACE}
        else:
            text.setdefault("hf_tokenizer_name", self.text_cfg.hf_model_name)
        return config


class LoraSettings(Strict):
    """Low-rank adapters of a tower's linear layers (LoRA)."""

    rank: int = Field(8, ge=1, description="rank of an adapter")
    alpha: int = Field(16, ge=1, description="an adapter is scaled by alpha / rank")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of an adapter's input that is dropped; not for open_clip's in_proj"
    )
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="layers by name, such as query and value, or in_proj and c_fc of open_clip's towers; null: all in the blocks",
    )


class TowerSettings(Strict):
    """What of a tower trains."""

    unlocked: int | None = Field(
        None, ge=0, description="train only the last so many blocks; 0: the tower is locked (LiT); null: all of it trains"
    )
    projection: bool = Field(True, description="train the projection into the joint space, also of a locked tower")
    lora: LoraSettings | None = Field(None, description="lock the tower and train low-rank adapters; needs the extra lora")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what the tower computes that is dropped before its projection while it trains"
    )
    start: Literal["weights", "pca"] = Field(
        "weights",
        description="where the projection starts: pca, at the principal components of what the locked tower computes of the "
        "training pairs (data.features), instead of random or loaded weights",
    )

    @model_validator(mode="after")
    def _adapters_alone(self) -> Self:
        if self.lora is not None and self.unlocked:
            raise ValueError("lora locks the tower's own weights: leave unlocked out, or lora")
        return self

    @property
    def is_locked(self) -> bool:
        """Whether some blocks of the tower do not train."""
        return self.unlocked is not None or self.lora is not None


class ModelSettings(Strict):
    """What is trained."""

    name: str = Field(
        "ViT-B-16-quickgelu",
        description="an open_clip name, `hf-hub:ORG/NAME`, `local-dir:PATH`, or any word if `architecture` is given",
    )
    architecture: Architecture | None = Field(None, description="build this instead of looking `name` up")
    pretrained: str | None = Field(
        None,
        description="weights of the whole model: open_clip's tag such as `openai`, a file, or the folder of a run, whose newest "
        "checkpoint is taken; null: what `name` brings, else from scratch",
    )
    image_weights: str | None = Field(None, description="weights of the image tower alone: a file as timm or open_clip writes it")
    text_weights: str | None = Field(
        None, description="weights of the text tower alone: a file, or a folder as Hugging Face has it; null: of hf_model_name"
    )
    context_length: int | None = Field(
        None, ge=4, description="tokens of a caption, if not as many as the model says; open_clip's towers resize their positions"
    )
    resize: Literal["shortest", "longest", "squash"] = Field(
        "shortest", description="how an image becomes square: by its shortest side (cropped), its longest (padded), or squashed"
    )
    mean: tuple[float, float, float] | None = Field(
        None,
        description="mean of the colours that images are normalised by; null: that of the weights or the timm model, else CLIP's",
    )
    std: tuple[float, float, float] | None = Field(None, description="their standard deviation; null: as mean")
    logit_scale: float | None = Field(
        1 / 0.07,
        ge=1,
        le=100,
        description="initial exp(logit_scale); null: the weights' own, which SigLIP's keep with their bias",
    )
    logit_scale_trains: bool = Field(True, description="false: exp(logit_scale) stays what it is at the start")
    logit_scale_max: float | None = Field(
        None, ge=1, description="highest exp(logit_scale) while it trains; null: 100, CLIP's, and none beside a bias, as SigLIP's"
    )
    image: TowerSettings = TowerSettings()
    text: TowerSettings = TowerSettings()

    @model_validator(mode="after")
    def _scale_fits(self) -> Self:
        highest = self.logit_scale_max
        if highest is None:
            return self
        if not self.logit_scale_trains:
            raise ValueError(f"logit_scale_max={highest:g} bounds a scale that trains, and logit_scale_trains is false")
        if self.logit_scale is not None and self.logit_scale > highest:
            raise ValueError(
                f"logit_scale={self.logit_scale:g} starts above logit_scale_max={highest:g}: set model.logit_scale too"
            )
        return self

    def reading(self) -> dict[str, Any]:
        """What decides which tokens the text tower reads of a caption."""
        return self.model_dump(mode="json", include={"name", "architecture", "context_length"})

    def towers(self) -> tuple[tuple[Literal["image"], TowerSettings], tuple[Literal["text"], TowerSettings]]:
        """Both towers by name."""
        return ("image", self.image), ("text", self.text)
