"""transformers' Trainer: python examples/loops/hugging_face_trainer.py URL TABLE FOLDER."""

import sys
from typing import Any

import torch
from nbclip.client import Service
from nbclip.soft_target_loss import SoftTargetLoss
from tiny import SIZE, VOCABULARY, WORDS, Pair, Pairs
from transformers import CLIPConfig, CLIPModel, Trainer, TrainingArguments

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {"vocab_size": VOCABULARY, "max_position_embeddings": WORDS, "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}


class SoftTargetTrainer(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        ids, outputs = inputs.pop("image_ids"), model(**inputs)
        loss = self.soft(outputs.image_embeds, outputs.text_embeds, self.model.logit_scale.exp(), image_ids=ids)
        print(f"loss: {loss.item():.6f}")
        return (loss, outputs) if return_outputs else loss


def together(pairs: list[Pair]) -> dict[str, Any]:
    images, words, ids = zip(*pairs, strict=True)
    return {"pixel_values": torch.stack(images), "input_ids": torch.stack(words), "image_ids": ids}


def main(url: str, table: str, folder: str, **options: Any) -> None:
    model = CLIPModel(CLIPConfig(text_config=TEXT | TOWER, vision_config={"image_size": SIZE, "patch_size": 8} | TOWER))
    arguments = TrainingArguments(folder, num_train_epochs=1, remove_unused_columns=False, **options)
    trainer = SoftTargetTrainer(model, arguments, train_dataset=Pairs(table), data_collator=together)
    with Service(url) as service:
        trainer.soft = SoftTargetLoss("sm", service)
        trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:4]) if len(sys.argv) > 3 else sys.exit(__doc__)
