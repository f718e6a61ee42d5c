"""An index of `nbclip index` beside the files it was made of."""

import json
import os
import pickle
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data import indexing
from nbclip_trainer.data.checking import check_images
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.indexing import write_index
from nbclip_trainer.data.leaks import shared_between_splits
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.data.parts import EncodedTexts, Encoding
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.data.stored import in_cache
from nbclip_trainer.models.building import tokenizer_of
from nbclip_trainer.models.captions import encoding_of, keys_of, texts_of, tokenized
from nbclip_trainer.targets.rows import caption_keys
from open_clip.transform import PreprocessCfg

MODEL = load_config("tiny-clip", ["model.architecture.text_cfg.context_length=9"]).model
TOKENIZER = tokenizer_of(MODEL)
SPLITS = ("train", "valid", None, "train", "retrieval")


@pytest.fixture
def table(tmp_path):
    """23 rows in five splits and none, with a group each, captions of very different lengths, two of them the same."""

    def write(rows=23, name="pairs.csv", **columns):
        path = tmp_path / name
        pl.DataFrame(
            {
                "image_id": [f"id-{number}" for number in range(rows)],
                "file": [f"{number}.png" for number in range(rows)],
                "caption": [" ".join(["bone", "lung"] * (number % 7 + 1)) for number in range(rows)],
                "split": [SPLITS[number % 5] for number in range(rows)],
                "group": [None if number % 5 == 1 else f"case {number}" for number in range(rows)],
                "organ": ["chest" if number % 5 == 4 else None for number in range(rows)],
            }
            | columns
        ).write_csv(path)
        return path

    return write


def settings(*files, **others):
    return DataSettings(**{"files": files, "workers": 0, "check": "none"} | others)


def made(path, folder, *, part_rows=5, model=MODEL, told=lambda *_: None, **others):
    """An index in parts of five rows."""
    write_index(folder, settings(path, **others), encoding_of(model), told, part_rows=part_rows)
    return folder


def opened(folder, **others):
    return open_dataset(settings(folder, **others))


@pytest.mark.parametrize("part_rows", [1, 5, 23, 100])
def test_an_index_has_the_rows_of_its_files_in_every_split(table, tmp_path, part_rows):
    plain = read_dataset([table()])
    whole = opened(made(table(), tmp_path / "index", part_rows=part_rows))
    assert whole.splits() == plain.splits()
    for split in (None, "train", "valid", "retrieval"):
        one, other = whole.of_split(split), plain.of_split(split)
        assert (len(one), one.digest(), one.images_digest()) == (len(other), other.digest(), other.images_digest())
        assert list(one.names) == other.names
        for name in other.names:
            assert list(one.labels(name)) == other.labels(name)
            rows = np.random.default_rng(0).permutation(len(other))[:4]
            assert one.values(name, rows) == other.values(name, rows)
            assert [value for array in one.labels(name).arrays() for value in array.to_pylist()] == other.labels(name)
        assert [one.file(row) for row in range(len(one))] == other.files
        assert one.place(len(one) - 1) == other.place(len(other) - 1)
        assert one.rows_of(["id-3", "id-6", "none"]) == other.rows_of(["id-3", "id-6", "none"])
        assert one.ids[1] == other.ids[1]
        assert one.ids[-3:-1] == other.ids[-3:-1]
    assert list(whole.others("train").ids) == plain.others("train").ids
    assert list(whole.others("train").labels("split")) == plain.others("train").labels("split")
    assert whole.frame_of(["valid", "train"]).equals(plain.frame_of(["valid", "train"]))
    rows = [1, 4, 9, 21]
    assert whole.frame_at(rows).equals(plain.frame_at(rows))
    assert whole.values("none", [0, 1]) == plain.values("none", [0, 1]) == [None, None]
    assert set(whole.filled("retrieval")) == set(plain.filled("retrieval"))
    assert "organ" not in whole.filled("train")
    with pytest.raises(NotFound, match="no column 'none'"):
        whole.labels("none")
    with pytest.raises(InvalidInput, match="no row of split 'test'"):
        whole.of_split("test")


def test_tokens_keys_and_what_is_cut_are_those_of_the_files(table, tmp_path):
    path = table()
    whole = opened(made(path, tmp_path / "index"))
    for split in (None, "train", "valid"):
        one, plain = whole.of_split(split), read_dataset([path]).of_split(split)
        found = texts_of(one, TOKENIZER)
        token_NL, cut = tokenized(TOKENIZER, plain.captions)
        rows = np.random.default_rng(0).permutation(len(plain))
        assert found.cut == cut
        assert cut.captions > 0
        for wanted in (rows, rows[:2].tolist(), slice(1, 3)):
            assert torch.equal(found.tokens[wanted], token_NL.int()[wanted])
            assert torch.equal(keys_of(one)[wanted], caption_keys(plain.captions)[wanted])
        assert found.tokens[rows].dtype == torch.int32


def test_rows_of_other_columns_lack_what_they_lack(table, tmp_path):
    first, second = table(), table(4, "second.csv", image_id=list("abcd"), age=["7", None, "9", None])
    whole = open_dataset(settings(made_of(tmp_path / "index", first, second)))
    plain = read_dataset([first, second])
    assert list(whole.names) == plain.names
    assert list(whole.labels("age")) == plain.labels("age")
    assert whole.frame_of(["train"]).equals(plain.frame_of(["train"]))


def made_of(folder, *paths):
    write_index(folder, settings(*paths), encoding_of(MODEL), part_rows=5)
    return folder


def test_a_dataset_goes_to_other_processes_without_its_rows(table, tmp_path):
    train = opened(made(table(), tmp_path / "index")).of_split("train")
    for one in (train, train.others("train"), train.of_split(None)):
        again = pickle.loads(pickle.dumps(one))
        assert list(again.ids) == list(one.ids)
    assert isinstance(pickle.loads(pickle.dumps(train)).rows, np.memmap)


def test_an_id_that_is_there_twice_is_named_at_both_places_as_in_files(table, tmp_path):
    path = table(image_id=[f"id-{number % 17}" for number in range(23)])
    with pytest.raises(InvalidInput) as plain:
        read_dataset([path])
    with pytest.raises(InvalidInput) as refused:
        made(path, tmp_path / "index")
    assert refused.value.message == plain.value.message
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    "groups", [["one"] * 23, [f"{number // 2}" for number in range(23)], [f"{number % 5}" for number in range(23)]]
)
def test_what_is_in_two_splits_is_told_as_of_files(table, tmp_path, groups):
    path = table(group=groups, file=[f"{number * number % 19}.png" for number in range(23)])
    whole = opened(made(path, tmp_path / "index"))
    assert shared_between_splits(whole) == shared_between_splits(read_dataset([path]))
    assert "image files in two splits" in shared_between_splits(whole)[1]


def test_bad_rows_are_kept_and_refused_by_their_share(table, tmp_path):
    captions = ["" if number in (3, 8) else "bone" for number in range(23)]
    path = table(caption=captions)
    with pytest.raises(InvalidInput, match=r"2 of 23 rows can't be used, first: .*pairs.csv:5: empty caption"):
        made(path, tmp_path / "index")
    whole = opened(made(path, tmp_path / "index", max_bad_row_share=0.5), max_bad_row_share=0.5)
    assert tuple(whole.bad_rows) == read_dataset([path], max_bad_row_share=0.5).bad_rows
    with pytest.raises(InvalidInput, match=r"2 of 23 rows can't be used"):
        opened(tmp_path / "index")
    with pytest.raises(InvalidInput, match=r"23 of 23 rows can't be used"):
        made(table(caption=[""] * 23), tmp_path / "none", max_bad_row_share=1)


def test_what_a_look_at_the_images_found_is_kept_for_every_split(write_pairs, tmp_path):
    path = write_pairs()
    for row, content in ((2, b"no image"), (26, b""), (9, (path.parent / "9.png").read_bytes()[:200])):
        (path.parent / f"{row}.png").write_bytes(content)
    made(path, tmp_path / "index", check="decode")
    plain = read_dataset([path])
    for check in ("decode", "headers"):
        for split in (None, "train", "valid"):
            found = check_images(opened(tmp_path / "index").of_split(split), settings(check=check))
            assert found == check_images(plain.of_split(split), settings(check="decode"))
    assert list(found.bad) == [2]


def cached(dataset, folder):
    """Images of 8 x 8 pixels from a cache."""
    cache = settings(pictures="cache", cache=folder)
    return np.array(in_cache(dataset, PreprocessCfg(size=8, resize_mode="squash"), cache, folder)[0].pixels)


def test_a_cache_is_that_of_an_index_until_one_is_made_of_changed_images(write_pairs, tmp_path):
    path, cache = write_pairs(), tmp_path / "cache"
    whole = opened(made(path, tmp_path / "index"))
    first = cached(read_dataset([path]), cache)
    shutil.copy(path.parent / "1.png", path.parent / "0.png")
    assert np.array_equal(cached(whole, cache), first), "an index does not look at images again"
    again = cached(opened(made(path, tmp_path / "again")), cache)
    assert np.array_equal(again, [first[1], *first[1:]])
    (path.parent / "0.png").unlink()
    without = opened(made(path, tmp_path / "without"))
    assert without.images_digest() not in (whole.images_digest(), "")
    assert np.array_equal(cached(without, cache), again), "of what is gone the cache has the last picture"


def test_an_index_that_was_checked_less_is_refused(table, tmp_path):
    folder = made(table(), tmp_path / "index", check="headers")
    with pytest.raises(InvalidInput, match=r"was made with data.check=headers, not decode") as refused:
        check_images(opened(folder), settings(check="decode"))
    assert "--set data.check=headers" in refused.value.hint
    with pytest.raises(InvalidInput, match=r"data.max_pixels=100000000, not 5"):
        check_images(opened(folder), settings(check="headers", max_pixels=5))


def change_size(path):
    path.write_text(path.read_text() + "x,x.png,more,train,,\n")


def change_time(path):
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [(change_size, "changed since"), (change_time, "changed since"), (lambda path: path.unlink(), "gone since")],
)
def test_an_index_whose_files_changed_is_refused(table, tmp_path, change, message):
    path = table()
    folder = made(path, tmp_path / "index")
    change(path)
    with pytest.raises(InvalidInput, match=rf"{path}: {message} {folder} was made of it") as refused:
        opened(folder)
    assert "nbclip index" in refused.value.hint


def test_an_index_of_another_version_or_damaged_is_refused(table, tmp_path):
    folder = made(table(), tmp_path / "index")
    manifest = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(manifest | {"version": 1}))
    with pytest.raises(InvalidInput, match="an index of version 1; this nbclip reads 2"):
        opened(folder)
    for damaged in (
        "{",
        "[]",
        json.dumps({"version": 2}),
        json.dumps({key: value for key, value in manifest.items() if key != "version"}),
    ):
        (folder / "index.json").write_text(damaged)
        with pytest.raises(BrokenArtefact, match="not the description of an index"):
            opened(folder)


def test_tokens_of_another_tokenizer_or_context_are_refused(table, tmp_path):
    folder = made(table(), tmp_path / "index")
    with pytest.raises(InvalidInput, match="has tokens of nbclip-tiny, 9 a caption, and this model reads 24"):
        texts_of(opened(folder), tokenizer_of(load_config("tiny-clip").model))

    def shifted(texts, context_length=None):
        return TOKENIZER(texts, context_length) + 1

    with pytest.raises(InvalidInput, match="and this model has another tokenizer"):
        texts_of(opened(folder), shifted)


def test_an_index_that_was_read_in_another_way_is_refused_if_that_was_asked_for(table, tmp_path):
    path = table(text=["bone"] * 23)
    folder = made(path, tmp_path / "index", columns={"caption": "text"})
    assert opened(folder).captions[0] == opened(folder, columns={"caption": "text"}).captions[0] == "bone"
    with pytest.raises(InvalidInput, match=r"made with data.columns.caption=text, not organ"):
        opened(folder, columns={"caption": "organ"})
    with pytest.raises(InvalidInput, match=r"made with data.separator=None, not tab"):
        opened(folder, separator="tab")
    with pytest.raises(InvalidInput, match="is an index, and other files are given beside it"):
        open_dataset(settings(folder, path))


class _Stop(Exception):
    pass


def test_what_was_done_before_a_stop_is_not_done_again(table, tmp_path, monkeypatch):
    path, encoding = table(), encoding_of(MODEL)
    encoded, looked = [], []

    class Counting:
        stop_at = 3

        def __call__(self, captions):
            if len(encoded) == self.stop_at:
                raise _Stop
            encoded.append(len(captions))
            return encoding.encode(captions)

    def looking(files, _):
        if len(looked) == 2:
            raise _Stop
        looked.append(list(files))
        return real(files, settings(check="headers"))

    real, counting = indexing.looked_at, Counting()
    monkeypatch.setattr(indexing, "looked_at", looking)
    counted = Encoding(encoding.tokenizer, encoding.settings, counting)
    chosen = settings(path, check="headers", max_bad_row_share=0.1)
    with pytest.raises(_Stop):
        write_index(tmp_path / "index", chosen, counted, part_rows=5)
    assert encoded == [5, 5, 5]
    counting.stop_at = None
    with pytest.raises(_Stop):
        write_index(tmp_path / "index", chosen, counted, part_rows=5)
    assert encoded == [5, 5, 5, 5, 3]
    monkeypatch.setattr(indexing, "looked_at", lambda files, _: looked.append(list(files)) or real(files, chosen))
    write_index(tmp_path / "index", chosen, counted, part_rows=5)
    assert encoded == [5, 5, 5, 5, 3]
    assert [len(files) for files in looked] == [5, 5, 5, 5, 3]
    straight = made(path, tmp_path / "straight", check="headers")
    files = {file.relative_to(straight) for file in straight.rglob("*") if file.is_file()}
    assert files == {file.relative_to(tmp_path / "index") for file in (tmp_path / "index").rglob("*") if file.is_file()}
    assert all((straight / file).read_bytes() == (tmp_path / "index" / file).read_bytes() for file in files)
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_was_half_done_of_other_files_is_done_anew(table, tmp_path):
    def broken(captions):
        raise _Stop

    with pytest.raises(_Stop):
        write_index(tmp_path / "index", settings(table()), Encoding("x", "x", broken), part_rows=5)
    path = table(12)
    assert list(opened(made(path, tmp_path / "index")).ids) == read_dataset([path]).ids


def test_what_was_half_done_for_another_context_is_done_anew(table, tmp_path):
    path = table()

    def stopped(stage, share):
        if stage == "looking at images":
            raise _Stop

    with pytest.raises(_Stop):
        made(path, tmp_path / "index", check="headers", told=stopped)
    other = MODEL.model_copy(update={"context_length": 5})
    assert opened(made(path, tmp_path / "index", check="headers", model=other), check="headers").tokens()[:].shape == (23, 5)


def test_a_folder_that_is_there_or_is_being_made_is_refused(table, tmp_path):
    path, refused = table(), []
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict, match="already exists"):
        made(path, tmp_path / "there")

    def again(stage, share):
        if not refused:
            with pytest.raises(Conflict, match="another process is making it"):
                made(path, tmp_path / "index")
            refused.append(stage)

    made(path, tmp_path / "index", told=again)
    assert refused


def test_several_processes_encode_what_one_does(table, tmp_path):
    path = table()
    one, several = made(path, tmp_path / "one"), made(path, tmp_path / "several", workers=2)
    assert (one / "tokens.npy").read_bytes() == (several / "tokens.npy").read_bytes()


def test_ids_of_tokens_beyond_16_bits_stay_whole(table, tmp_path):
    def encode(captions):
        rows = len(captions)
        return EncodedTexts(np.full((rows, 4), 100_000, np.int32), np.zeros(rows, np.int64), np.zeros(rows, np.int32))

    write_index(tmp_path / "index", settings(table()), Encoding("x", "x", encode), part_rows=5)
    assert opened(tmp_path / "index").tokens()[[3, 22]].tolist() == [[100_000] * 4] * 2
