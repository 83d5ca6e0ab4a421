from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from dsmt_nnunet.dicom.export import Export, read_export
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from tests.unit.dicom.made_series import write_ct


@pytest.fixture
def ct(tmp_path: Path) -> CtVolume:
    """Five slices of 6 x 8 voxels."""
    write_ct(tmp_path / "ct", heights=(0, 3, 6, 9, 12))
    return read_ct(ct_series(read_export(tmp_path / "ct"))[0])


def unpack(shared_data: Path, name: str, folder: Path) -> Export:
    """A published export; skips where it is not there."""
    packed = shared_data / "ct-dicom" / f"{name}.tar.gz"
    if not packed.exists():
        pytest.skip(f"{packed} is not here; made series cover the same behaviour")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return read_export(folder)
