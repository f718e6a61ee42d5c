"""Prompt ensembles: a class as the mean of several sentences that name it (Radford et al., CLIP, 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput

Float32 = npt.NDArray[np.float32]
PLACE = "{}"
"""Where a template names the class."""


def ensemble(texts: Sequence[str], templates: Sequence[str], encode: Callable[[Sequence[str]], Float32]) -> Float32:
    """For each text the mean of its features in all templates, L2-normalised: float32, [T, D].

    Args:
        texts: the words of T classes.
        templates: sentences with one `{}` each, at least one.
        encode: sentences to L2-normalised features.
    """
    sentences = [template.replace(PLACE, text) for text in texts for template in templates]
    feature_TMD = encode(sentences).reshape(len(texts), len(templates), -1)
    mean_TD = feature_TMD.mean(axis=1)
    return np.asarray(mean_TD / np.maximum(np.linalg.norm(mean_TD, axis=1, keepdims=True), 1e-12), np.float32)


def read_templates(path: Path) -> tuple[str, ...]:
    """The templates of a text file, one a line; empty lines and those that begin with # are passed over.

    Raises:
        InvalidInput: the file can't be read, has no template, or a line has not exactly one `{}`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: can't be read: {error}", hint="a text file with one template a line") from error
    templates = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")}
    for number, template in templates.items():
        if template.count(PLACE) != 1:
            raise InvalidInput(f"{path}:{number}: {template!r} has not exactly one {PLACE}", hint="such as: an X-ray of the {}")
    if not templates:
        raise InvalidInput(f"{path}: no template", hint="one a line, such as: an X-ray of the {}")
    return tuple(templates.values())
