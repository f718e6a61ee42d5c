"""Whether a folder can be written is said without writing, and what helps goes with the reason."""

import errno
import os

import pytest
from kg_service.storage.writing import check_writable, unwritten
from nbclip.errors import Unavailable


@pytest.mark.parametrize(
    ("code", "helps"),
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EDQUOT, "free disk space"),
        (errno.EROFS, "allow the service to write there"),
        (errno.EACCES, "allow the service to write there"),
        (errno.EIO, "check the disk"),
    ],
)
def test_what_helps_goes_with_the_reason(tmp_path, code, helps):
    error = unwritten("the body can't be kept", tmp_path, OSError(code, os.strerror(code)))
    assert error.message == f"the body can't be kept: {os.strerror(code)}"
    assert error.hint.startswith(helps)
    assert error.hint.endswith(f"(in {tmp_path})")


def test_a_folder_that_is_yet_to_be_made_is_judged_by_the_one_above_it(tmp_path, monkeypatch):
    check_writable(tmp_path)
    check_writable(tmp_path / "data" / "snapshots")
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    for folder in (tmp_path, tmp_path / "data" / "snapshots"):
        with pytest.raises(Unavailable, match=f"nothing can be stored: {tmp_path}: Permission denied"):
            check_writable(folder)
