"""Answers without this machine's paths: they name files relative to the folders of the settings; only the log has the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kg_service.config import Settings
from kg_service.linking.linkers import linker_settings, paths_of


def without_own_paths(text: str, settings: Settings) -> str:
    """The text, whose files in the folders of the settings and in the home folder are named relative to these."""
    for folder in sorted(_folders(settings), key=lambda each: -len(each.parts)):
        text = re.sub(rf"(?<![\w.-]){re.escape(str(folder))}/(?=[\w.-])", "", text)
        text = re.sub(rf"(?<![\w.-]){re.escape(str(folder))}(?![\w.-])", folder.name, text)
    return text


def _folders(settings: Settings) -> set[Path]:
    scheme, separator, rest = settings.store_url.partition("://")
    store = Path(rest if separator else scheme).expanduser()
    files = [store, settings.vocabulary_folder, settings.keys_path, *paths_of(linker_settings(settings)).values()]
    named = [settings.data, Path.home(), *(file.parent for file in files)]
    return {folder for each in named for folder in _forms(each) if len(folder.parts) > 1}


def _forms(path: Path) -> Iterator[Path]:
    yield path.absolute()
    yield path.resolve()
