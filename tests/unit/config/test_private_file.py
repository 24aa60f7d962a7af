"""Private files on file systems that refuse something."""

import errno
import os

import pytest

from dama.config.private_file import keep_on_disk


@pytest.mark.parametrize(
    ("name", "problem", "is_refused"),
    [
        (".", errno.EINVAL, False),
        (".", errno.ENOTSUP, False),
        (".", errno.EIO, True),
        ("file", errno.EINVAL, True),
    ],
)
def test_only_of_a_folder_an_fsync_may_be_refused(tmp_path, monkeypatch, name, problem, is_refused):
    """Shared folders of virtual machines know none of a folder; of a file it is a lost write."""

    def refuse(_descriptor):
        raise OSError(problem, os.strerror(problem))

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fsync", refuse)
    if is_refused:
        with pytest.raises(OSError, match=os.strerror(problem)):
            keep_on_disk(tmp_path / name)
    else:
        keep_on_disk(tmp_path / name)
