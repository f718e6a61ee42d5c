import numpy as np
import polars as pl
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.validation import check_best_by, shown_figures, validate
from support.ranks import run_ranks
from torch.nn.functional import cross_entropy


@pytest.fixture
def labelled(write_pairs):
    """70 pairs to validate on, each fifth caption that of the pair before; classes, cases of two images, and CUIs on most."""

    def write(**columns):
        path = write_pairs(valid=70)
        number = pl.int_range(pl.len())
        frame = pl.read_csv(path).with_columns(
            caption=pl.when(number % 5 == 4).then(pl.col("caption").shift(1)).otherwise("caption")
        )
        kind = pl.col("file").str.strip_suffix(".png").cast(pl.Int64)
        every = {
            "organ": kind % 10 % 4,
            "group": (kind // 2).cast(pl.String) + pl.col("split"),
            "cuis": pl.when(kind % 7 > 0).then(pl.format("C000000{} C000001{}", kind % 4, kind % 3)),
        }
        frame.with_columns(**every, **columns).write_csv(path)
        return path

    return write


def encoded(session):
    """Features of the split in batches of 8, as they are validated: those of a fresh model differ by little more than noise."""
    model, pairs = session.parts.model.eval(), session.valid
    batches = [list(range(start, min(start + 8, 70))) for start in range(0, 70, 8)]
    with torch.no_grad():
        pixels = (batch.pixels for batch in pairs.images.plain(batches))
        image = [model.encode_image(part.contiguous(memory_format=torch.channels_last), normalize=True) for part in pixels]
        text = [model.encode_text(pairs.tokens[rows].long(), normalize=True) for rows in batches]
    return torch.cat(image), torch.cat(text)


def ranked(query, gallery):
    return np.argsort(-(query @ gallery.T).numpy(), axis=1, kind="stable")


def test_figures_are_those_of_plain_loops(small, labelled):
    session = build_session(load_config("tiny-clip", small(data=labelled())))
    figures, found = validate(session, session.valid)
    assert found == {}
    image, text = encoded(session)
    frame = session.valid.dataset.frame
    caption, organ, group = (frame[name].to_list() for name in ("caption", "organ", "group"))
    for k in (1, 5, 10):
        hits = []
        for query, gallery in ((image, text), (text, image)):
            order = ranked(query, gallery)
            hits += [any(caption[g] == caption[q] for g in order[q, :k]) for q in range(70)]
        assert figures[f"recall_at_{k}"] == pytest.approx(np.mean(hits))
    assert figures["recall"] == pytest.approx(np.mean([figures[f"recall_at_{k}"] for k in (1, 5, 10)]))
    order = ranked(image, image)
    nearest = [[g for g in order[q] if group[g] != group[q]][:10] for q in range(70)]
    precision = pl.DataFrame({"organ": organ, "value": [np.mean([organ[g] == organ[q] for g in nearest[q]]) for q in range(70)]})
    expected = precision.group_by("organ").agg(pl.col("value").mean())["value"].mean()
    assert figures["precision_at_10"] == pytest.approx(expected)
    assert figures["cui_coverage_at_10"] == pytest.approx(coverage(frame, order, group))


def coverage(frame, order, group):
    cuis = [set((text or "").split()) for text in frame["cuis"]]
    found = []
    for q in (q for q in range(70) if cuis[q]):
        near = [g for g in order[q] if group[g] != group[q] and cuis[g]][:10]
        found.append(len(cuis[q] & set().union(*(cuis[g] for g in near))) / len(cuis[q]))
    return np.mean(found)


def test_the_loss_is_infonce_over_full_batches_whether_or_not_retrieval_is_measured(small, labelled):
    path = labelled()
    session = build_session(load_config("tiny-clip", small(data=path)))
    figures, _ = validate(session, session.valid)
    image, text = encoded(session)
    scale, own = session.parts.model.logit_scale.exp().detach(), torch.arange(8)
    losses = [
        cross_entropy(scale * first[rows] @ second[rows].T, own).item()
        for rows in (slice(start, start + 8) for start in range(0, 64, 8))
        for first, second in ((image, text), (text, image))
    ]
    assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    alone = build_session(load_config("tiny-clip", small("validation.retrieval=false", "checkpoint.best_by=loss", data=path)))
    assert validate(alone, alone.valid)[0] == {"loss": figures["loss"]}


def test_validation_leaves_model_and_random_state_as_they_were(small):
    session = build_session(load_config("tiny-clip", small()))
    before = {name: tensor.clone() for name, tensor in session.parts.model.state_dict().items()}
    random = torch.get_rng_state()
    figures, _ = validate(session, session.valid)
    assert figures.keys() == {"loss", "recall", "recall_at_1", "recall_at_5", "recall_at_10"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in session.parts.model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert shown_figures({"loss": 2.0, "recall": 0.25, "recall_at_1": 0.1}) == "validation loss 2.0000, recall 0.250"


def test_features_that_are_not_finite_have_a_loss_alone(small):
    session = build_session(load_config("tiny-clip", small()))
    with torch.no_grad():
        session.parts.model.text_projection.fill_(torch.nan)
    assert validate(session, session.valid)[0].keys() == {"loss"}


@pytest.mark.parametrize(
    ("by", "lacking"),
    [
        ("precision_at_10", r"split 'valid' lacks 10 images of a class in one of the columns modality, organ, modality_organ"),
        ("cui_coverage_at_10", r"split 'valid' lacks images with CUIs in the column cuis"),
    ],
)
def test_a_figure_that_the_split_cannot_give_is_refused_before_the_first_step(small, labelled, write_pairs, by, lacking):
    check_best_by(build_session(load_config("tiny-clip", small(f"checkpoint.best_by={by}", data=labelled()))))
    session = build_session(load_config("tiny-clip", small(f"checkpoint.best_by={by}", data=write_pairs())))
    with pytest.raises(InvalidInput, match=f"checkpoint.best_by={by}: {lacking}") as refused:
        check_best_by(session)
    assert refused.value.hint == "checkpoint.best_by=recall needs no labels"


def validated(world, overrides):
    session = build_session(load_config("tiny-clip", overrides), world=world)
    return validate(session, session.valid)[0]


def test_two_ranks_validate_as_one_process_does(small, labelled):
    overrides = small(data=labelled())
    session = build_session(load_config("tiny-clip", overrides))
    alone, _ = validate(session, session.valid)
    first, second = run_ranks(validated, overrides)
    assert first == second
    assert first == pytest.approx(alone, rel=1e-6)
