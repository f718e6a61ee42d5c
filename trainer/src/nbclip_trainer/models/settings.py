"""What is trained."""

from __future__ import annotations

from typing import Literal, Self

from nbclip.schemas.base import Strict
from pydantic import Field, model_validator


class Vision(Strict):
    """open_clip's `CLIPVisionCfg`: four `layers` make a ModifiedResNet, one number a vision transformer."""

    image_size: int = Field(224, ge=32, description="side of an image in pixels")
    layers: tuple[int, int, int, int] | int = Field(
        12, description="number of layers of a vision transformer; four numbers: blocks of a ModifiedResNet"
    )
    width: int = Field(768, ge=1, description="width of the image tower")
    head_width: int = Field(64, ge=1, description="width of an attention head")
    patch_size: int = Field(16, ge=1, description="side of a patch in pixels; vision transformer only")


class Text(Strict):
    """open_clip's `CLIPTextCfg`."""

    context_length: int = Field(77, ge=4, description="tokens of a caption; longer ones are cut")
    vocab_size: int = Field(49408, description="number of tokens of the tokenizer")
    width: int = Field(512, ge=1, description="width of the text tower")
    heads: int = Field(8, ge=1, description="number of attention heads")
    layers: int = Field(12, ge=1, description="number of layers")


class Architecture(Strict):
    """A model that open_clip has no name for."""

    embed_dim: int = Field(512, ge=1, description="dimension of the features that both towers give")
    vision_cfg: Vision = Vision()
    text_cfg: Text = Text()


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
        "ViT-B-16-quickgelu", description="an open_clip name, `local-dir:PATH`, or any word if `architecture` is given"
    )
    architecture: Architecture | None = Field(None, description="build this instead of looking `name` up")
    pretrained: str | None = Field(None, description="open_clip tag such as `openai`, or a weights file; null: from scratch")
    resize: Literal["shortest", "longest", "squash"] = Field(
        "shortest", description="how an image becomes square: by its shortest side (cropped), its longest (padded), or squashed"
    )
    logit_scale: float | None = Field(
        1 / 0.07,
        ge=1,
        le=100,
        description="initial exp(logit_scale); null: the weights' own, which SigLIP's keep with their bias",
    )
    image: TowerSettings = TowerSettings()
    text: TowerSettings = TowerSettings()

    def towers(self) -> tuple[tuple[Literal["image"], TowerSettings], tuple[Literal["text"], TowerSettings]]:
        """Both towers by name."""
        return ("image", self.image), ("text", self.text)
