"""Runs inside pykeen's own environment: trains its TransE, writes vectors, triples, scores and loss for `transe_peer.py`."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from pykeen.datasets import UMLS
from pykeen.losses import MarginRankingLoss
from pykeen.pipeline import pipeline
from pykeen.sampling import BernoulliNegativeSampler
from torch.nn.functional import normalize


def main(exchange: str, settings: dict[str, float]) -> None:
    dataset = UMLS()
    result = pipeline(
        dataset=dataset,
        model="TransE",
        model_kwargs={"embedding_dim": 64, "scoring_fct_norm": 1},
        loss="marginranking",
        loss_kwargs={"margin": settings["margin"]},
        optimizer="Adagrad",
        optimizer_kwargs={"lr": 0.1},
        negative_sampler="bernoulli",
        negative_sampler_kwargs={"num_negs_per_pos": int(settings["negatives"])},
        training_kwargs={"num_epochs": int(settings["epochs"]), "batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=42,
        device="cpu",
    )
    model = result.model
    training = dataset.training.mapped_triples
    hits = result.metric_results.get_metric("hits@10")
    entity = model.entity_representations[0](None).detach()
    trained_relation = model.relation_representations[0](None).detach().clone()
    with torch.no_grad():
        # A unit length for both, as our loss scales them, so that the same numbers can be compared.
        scaled = normalize(trained_relation, dim=-1)
        model.relation_representations[0]._embeddings.weight.copy_(scaled)
        true = training[:512]
        sampler = BernoulliNegativeSampler(mapped_triples=training, num_negs_per_pos=1, num_entities=dataset.num_entities)
        false = sampler.corrupt_batch(true).reshape(-1, 3)
        changed = (true != false).any(dim=1)
        true, false = true[changed], false[changed]
        scores, worse = model.score_hrt(true)[:, 0], model.score_hrt(false)[:, 0]
        loss = MarginRankingLoss(margin=settings["margin"])(scores, worse)
    np.savez(
        exchange,
        entity=entity.numpy(),
        relation=scaled.numpy(),
        trained_relation=trained_relation.numpy(),
        true=true.numpy(),
        false=false.numpy(),
        scores=scores.numpy(),
        training=training.numpy(),
        testing=dataset.testing.mapped_triples.numpy(),
        every=np.concatenate([part.mapped_triples.numpy() for part in (dataset.training, dataset.validation, dataset.testing)]),
    )
    print(json.dumps({"pykeen's loss": float(loss), "hits": float(hits)}))


if __name__ == "__main__":
    main(sys.argv[2], json.loads(sys.argv[3]))
