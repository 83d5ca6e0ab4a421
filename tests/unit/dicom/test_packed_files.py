from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from dsmt_nnunet.dicom.packed_files import walk


def pack(path: Path, content: bytes) -> None:
    """A zip of a zip of one file; its time of change is that of the content's length."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a", content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    os.utime(path, (len(content), len(content)))


def test_another_zip_at_the_same_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    for content in (b"first", b"second"):
        pack(path, content)
        assert [(file.name, file.read()) for file in walk(path)] == [(f"{path}:inner.zip:a", content)]
