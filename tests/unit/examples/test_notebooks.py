"""The notebooks run, and give the text that they were saved with."""

from __future__ import annotations

import re

import nbformat
import pytest

from examples.notebooks.run import HERE, executed

NOTEBOOKS = sorted(HERE.glob("*.ipynb"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
CHANGES = re.compile(r"in [\d.]+ s \(\d+ rows/s\)|\b[0-9a-f]{12,64}\b")
"""Times, and ids that come from the last digits of floats."""
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def texts(notebook):
    """What each code cell printed, and the kinds of what it showed."""
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        shown = [sorted(output.data) for output in cell.outputs if output.output_type == "display_data"]
        yield cell.id, CHANGES.sub("…", printed), shown


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["alike", "targets"]


@each_notebook
def test_a_notebook_gives_what_it_was_saved_with(path):
    saved, now = list(texts(nbformat.read(path, as_version=4))), list(texts(executed(path)))
    assert [(id_, NUMBER.sub("#", text), shown) for id_, text, shown in now] == [
        (id_, NUMBER.sub("#", text), shown) for id_, text, shown in saved
    ]
    numbers = [[float(number) for _, text, _ in each for number in NUMBER.findall(text)] for each in (now, saved)]
    assert numbers[0]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.02)


@each_notebook
def test_a_notebook_is_small_and_says_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    assert len(text) < 200_000
    assert "/tmp/" not in text
    assert str(HERE.parents[1]) not in text
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert all(cell.metadata == {} for cell in notebook.cells)
    # Every cell was run, from the top, and none wrote an error or a warning.
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {(output.output_type, output.get("name", "")) for cell in code for output in cell.outputs}
    assert kinds <= {("stream", "stdout"), ("display_data", "")}
