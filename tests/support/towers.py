"""Text towers of Hugging Face's kind, tiny and with random weights, in folders as the hub has them; and models that have them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import safetensors.torch
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

WORDS = [
    "picture",
    "finding",
    "of",
    "the",
    "head",
    "chest",
    "knee",
    "spine",
    "CT",
    "ct",
    "##s",
    *"0123456789",
    *(f"##{n}" for n in range(10)),
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
WIDTH, POSITIONS = 16, 24
VIT = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}


def bert_config(**changed):
    tiny = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=POSITIONS, **{**tiny, **changed})


def write_bert(folder: Path, *, heads=False, seed=1, **changed) -> Path:
    """Config, vocabulary and weights; with heads as PubMedBERT has them: tensors of `bert.` and `cls.`, written by torch."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    config = bert_config(**changed)
    if heads:
        config.save_pretrained(folder)
        torch.save(BertForMaskedLM(config).state_dict(), folder / "pytorch_model.bin")
    else:
        BertModel(config).save_pretrained(folder)
    return folder


def own_bert(folder: Path) -> BertModel:
    """transformers' own reading of a folder, as an oracle."""
    return BertModel.from_pretrained(folder).eval()


def own_tokens(folder: Path, texts, length, **options):
    tokenizer = BertTokenizer.from_pretrained(folder, **options)
    return tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")


def write_open_clip(folder: Path, config: dict, *, seed=1, changed=lambda model: None, preprocess=None) -> torch.nn.Module:
    """A model in a folder as open_clip's `local-dir:` has it, and the model."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    custom = config.get("custom_text") or "hf_model_name" in config["text_cfg"]
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**arguments)
    with torch.no_grad():
        changed(model)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model.eval()
