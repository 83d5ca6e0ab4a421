from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.dicom.lidc import lidc_series_uid, lidc_structures, match_readings, read_lidc
from dsmt_nnunet.dicom.packed_files import PackedFile
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from tests.unit.dicom.conftest import unpack
from tests.unit.dicom.made_structures import lidc_xml


def outline(low: int, high: int) -> list[tuple[int, int]]:
    """Every pixel on the border of a square, as LIDC lists them."""
    there = range(low, high)
    back = range(high, low, -1)
    return [
        *((x, low) for x in there),
        *((high, y) for y in there),
        *((x, high) for x in back),
        *((low, y) for y in back),
    ]


LEFT = outline(0, 3)
WIDER = outline(0, 4)


def written(tmp_path: Path, ct: CtVolume, *sessions: dict) -> Path:
    path = tmp_path / "reading.xml"
    path.write_text(lidc_xml(ct, sessions))
    return path


def test_the_contour_is_the_first_voxel_outside(tmp_path: Path, ct: CtVolume) -> None:
    path = written(tmp_path, ct, {"a": [(2, LEFT, True)]})
    (nodule,) = read_lidc(PackedFile(path), ct.grid)
    assert nodule.readings[0].structure.voxels_zyx.tolist() == [[2, 1, 1], [2, 1, 2], [2, 2, 1], [2, 2, 2]]
    assert nodule.readings[0].ratings == {"malignancy": 4}
    assert lidc_series_uid(PackedFile(path)) == ct.series.uid


def test_holes_are_taken_out_and_points_left_out(tmp_path: Path, ct: CtVolume) -> None:
    hole = outline(1, 3)
    path = written(tmp_path, ct, {"a": [(2, WIDER, True), (2, hole, False)], "point": [(1, [(6, 4)], True)]})
    (nodule,) = read_lidc(PackedFile(path), ct.grid)
    assert len(nodule.readings[0].structure.voxels_zyx) == 9 - 1
    assert not nodule.consensus().mask[2, 2, 2]


def test_consensus_by_majority(tmp_path: Path, ct: CtVolume) -> None:
    one, many = {"n": [(2, LEFT, True)]}, {"n": [(2, WIDER, True)]}
    (nodule,) = read_lidc(PackedFile(written(tmp_path, ct, one, one, many)), ct.grid)
    assert nodule.readers == (0, 1, 2)
    assert len(nodule.consensus().voxels_zyx) == 4
    (nodule,) = read_lidc(PackedFile(written(tmp_path, ct, one, many, many)), ct.grid)
    assert lidc_structures([nodule])[0].name == "nodule 1"
    assert len(nodule.consensus().voxels_zyx) == 9


def test_two_nodules_of_one_reader_stay_two(tmp_path: Path, ct: CtVolume) -> None:
    right = [(x + 3, y) for x, y in LEFT]
    session = {"a": [(2, LEFT, True)], "b": [(2, right, True)]}
    nodules = read_lidc(PackedFile(written(tmp_path, ct, session, session)), ct.grid)
    assert sorted(nodule.readers for nodule in nodules) == [(0, 1), (0, 1)]
    apart = [nodule.readings[0] for nodule in nodules]
    assert len(match_readings(apart, ct.image.GetSpacing())) == 2


def test_another_series_and_no_reading(tmp_path: Path, ct: CtVolume, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, ct, {"a": [(2, LEFT, True)]})
    path.write_text(path.read_text().replace(ct.series.uid, "1.2.3"))
    with pytest.raises(ValueError, match=r"it names series '1\.2\.3'"):
        read_lidc(PackedFile(path), ct.grid)
    path.write_text(lidc_xml(ct, [{"a": [(2, LEFT, True)]}]).replace(ct.source.sop_uids[2], "1.2.4"))
    with pytest.raises(ValueError, match=r"a contour lies on image 1\.2\.4"):
        read_lidc(PackedFile(path), ct.grid)
    path.write_text(lidc_xml(ct, [{"a": [(2, LEFT, True)]}]).replace("<xCoord>0<", "<xCoord><", 1))
    with pytest.raises(ValueError, match=r"reading\.xml: nodule 'a' has a contour without whole numbers"):
        read_lidc(PackedFile(path), ct.grid)
    path.write_text("<a")
    assert lidc_series_uid(PackedFile(path)) is None
    assert "reading.xml is cut off or no XML" in caplog.text
    path.write_text("<a/>")
    assert lidc_series_uid(PackedFile(path)) is None


def test_published_reading(shared_data: Path, tmp_path: Path) -> None:
    """LIDC-IDRI-0012: twelve nodules were drawn, five of them by all four readers, two by a single one."""
    export = unpack(shared_data, "LIDC-IDRI-0012", tmp_path)
    ct = read_ct(ct_series(export)[0])
    nodules = read_lidc(export.others[0], ct.grid)
    assert sorted(len(nodule.readers) for nodule in nodules) == [1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]
    assert all(len(set(nodule.readers)) == len(nodule.readers) for nodule in nodules)
    largest = nodules[0]
    assert [reading.ratings["malignancy"] for reading in largest.readings] == [4, 3, 5, 2]
    drawn = [len(reading.structure.voxels_zyx) for reading in largest.readings]
    assert (
        min(drawn)
        <= np.median(drawn)
        <= len(largest.consensus().voxels_zyx)
        <= len({tuple(v) for reading in largest.readings for v in reading.structure.voxels_zyx.tolist()})
    )
