import gzip
import random

import pytest
from nbclip.errors import InvalidInput
from nbclip.files.lines import TextFile


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(InvalidInput, match=f"can't read {path}"):
            TextFile(path)


def test_position_grows_up_to_the_size(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(random.Random(0).randbytes(200_000).hex().encode() + b"\nend\n"))
    with TextFile(path) as source:
        positions = [source.position] + [source.position for _ in source]
        assert positions == sorted(positions)
        assert (positions[0], positions[-1]) == (0, source.size)
