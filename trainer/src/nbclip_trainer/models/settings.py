"""What is trained."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field


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
