"""YAML files that are shipped under a name or lie anywhere, and may be laid over one another by `extends:`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from nbclip.errors import InvalidInput, NotFound

from nbclip_trainer.config.laying import laid_over


@dataclass(frozen=True, slots=True)
class Shelf:
    """Files of one kind.

    Attributes:
        kind: what messages call them, such as `preset`.
        folder: where the shipped ones are.
    """

    kind: str
    folder: Traversable

    def names(self) -> list[str]:
        """The shipped ones, sorted."""
        return sorted(Path(entry.name).stem for entry in self.folder.iterdir() if entry.name.endswith(".yaml"))

    def tree(self, given: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
        """What a shipped one or a file says, laid over what it extends; a base that is a file is relative to it.

        Raises:
            InvalidInput: not YAML, a key twice, no mapping, or it extends itself.
            NotFound: there is none.
        """
        if given in seen:
            raise InvalidInput(f"{self.kind} {given!r} extends itself: {' -> '.join((*seen, given))}", hint="remove the cycle")
        try:
            # A safe loader, but for keys that are there twice.
            tree = yaml.load(self._text(given), _Loader)  # noqa: S506  # nosec B506
        except yaml.YAMLError as error:
            raise InvalidInput(f"{self.kind} {given}: not YAML: {' '.join(str(error).split())}", hint="fix the file") from error
        if not isinstance(tree, dict):
            raise InvalidInput(f"{self.kind} {given}: not a mapping", hint="write `key: value` lines")
        base = tree.pop("extends", None)
        if base is None:
            return tree
        if not isinstance(base, str):
            raise InvalidInput(f"{self.kind} {given}: extends={base!r} is not the name of a {self.kind}", hint=self._hint())
        beside = base if base in self.names() else str(Path(given).parent / base)
        return laid_over(self.tree(beside, (*seen, given)), tree)

    def _text(self, given: str) -> str:
        if given in self.names():
            return (self.folder / f"{given}.yaml").read_text(encoding="utf-8")
        path = Path(given)
        if not path.is_file():
            raise NotFound(f"no {self.kind} {given!r}", hint=self._hint())
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{self.kind} {given}: not UTF-8 text: {error}", hint="check that it is a YAML file") from error

    def _hint(self) -> str:
        return f"a YAML file, or one of: {', '.join(self.names())}"


class _Loader(yaml.SafeLoader):
    """A key that is there twice is refused: the first would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
