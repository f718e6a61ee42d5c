"""The data of a run, by its settings: files, or an index of them."""

from __future__ import annotations

from pathlib import Path

from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset, layout_of, read_dataset
from nbclip_trainer.data.indexed import is_index, open_index
from nbclip_trainer.data.settings import DataSettings


def open_dataset(settings: DataSettings) -> Dataset:
    """All rows of the data that can be used.

    Raises:
        InvalidInput: as `read_dataset` and `open_index`; an index beside other files.
    """
    index = next((path for path in settings.files if isinstance(path, Path) and is_index(path)), None)
    if index is None:
        return read_dataset(settings.files, layout=layout_of(settings), max_bad_row_share=settings.max_bad_row_share)
    if len(settings.files) > 1:
        raise InvalidInput(f"{index} is an index, and other files are given beside it", hint="make one index of all of them")
    return open_index(index, settings)
