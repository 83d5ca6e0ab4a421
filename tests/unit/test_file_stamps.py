from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsmt_nnunet.file_stamps import stamps_fit, stamps_of


def test_a_stamp_fits_the_content_whatever_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    stamps = stamps_of([path])
    assert stamps_fit(stamps, [path])
    os.utime(path, (1, 1))
    assert stamps_fit(stamps, [path])
    path.write_bytes(b"kontent")
    assert not stamps_fit(stamps, [path])
    path.write_bytes(b"content and more")
    os.utime(path, ns=(0, int(stamps["a"][1])))
    assert not stamps_fit(stamps, [path])
    path.unlink()
    assert not stamps_fit(stamps, [path])


@pytest.mark.parametrize("stamps", [{}, {"b": [7, 0, ""]}, {"a": [7]}, {"a": ["7", 0, "x"]}, {"a": None}, None, []])
def test_other_stamps_fit_nothing(tmp_path: Path, stamps: object) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    assert not stamps_fit(stamps, [path])  # type: ignore[arg-type]
