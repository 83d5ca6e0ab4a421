from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from dsmt_nnunet.dicom.structures import drawn_structures, matches, read_structures, structures_of
from tests.unit.dicom.conftest import unpack
from tests.unit.dicom.made_series import FRAME_OF_REFERENCE
from tests.unit.dicom.made_structures import write_rtstruct, write_seg
from tests.unit.dicom.test_contours import square


def structures(tmp_path: Path, ct: CtVolume, pattern: str = "*") -> dict[str, np.ndarray]:
    (found,) = structures_of(read_export(tmp_path), ct.series)
    return {item.name: item.mask for item in read_structures(found, ct, pattern)}


def test_structures_are_found_by_name(tmp_path: Path, ct: CtVolume) -> None:
    contours = {"GTV-1": [(3, square(0, 3))], "gtv 2": [(6, square(1, 3))], "Lung": [(0, square(0, 5))], "empty": []}
    write_rtstruct(tmp_path / "set", ct, contours)
    found = structures(tmp_path, ct, "GTV*")
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"GTV-1": 9, "gtv 2": 4}
    assert found["GTV-1"][1, :3, :3].all()
    (series,) = structures_of(read_export(tmp_path), ct.series)
    assert [one.name for one in drawn_structures(series)] == ["GTV-1", "gtv 2", "Lung", "empty"]


def test_points_are_no_structure(tmp_path: Path, ct: CtVolume) -> None:
    write_rtstruct(tmp_path / "set", ct, {"isocentre": [(3, [(1, 1)])]}, kind="POINT")
    assert structures(tmp_path, ct) == {}


def test_a_set_of_another_series_is_not_taken(tmp_path: Path, ct: CtVolume) -> None:
    write_rtstruct(tmp_path / "set", ct, {"a": [(3, square(0, 3))]})
    other = next(series for series in read_export(tmp_path).series if series.modality == "RTSTRUCT")
    assert structures_of(read_export(tmp_path), other) == ()
    with pytest.raises(ValueError, match="modality CT holds no structures"):
        read_structures(ct.series, ct)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [("GTV-1", "gtv*", True), ("GTV-1", "GTV", False), ("a.c", "abc", False), ("x", "a|x ", True), ("PTV", "*", True)],
)
def test_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected


def test_binary_segmentation_without_its_empty_frames(tmp_path: Path, ct: CtVolume) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (3, 6, 8), np.uint8)
    write_seg(tmp_path / "seg", ct, [(1, 9, pixels[0]), (2, 3, pixels[1]), (1, 0, pixels[2])])
    found = structures(tmp_path, ct)
    np.testing.assert_array_equal(found["first"][[3, 0]], pixels[[0, 2]] > 0)
    assert found["first"].sum() == pixels[[0, 2]].sum()
    np.testing.assert_array_equal(found["second"][1], pixels[1] > 0)


def test_fractional_segmentation_counts_from_one_half(tmp_path: Path, ct: CtVolume) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[0, :3] = (99, 100, 200)
    write_seg(tmp_path / "seg", ct, [(1, 3, pixels)], fractional=True)
    assert np.argwhere(structures(tmp_path, ct)["first"]).tolist() == [[1, 0, 1], [1, 0, 2]]


def test_names_in_chinese_of_iso_2022(tmp_path: Path, ct: CtVolume) -> None:
    write_rtstruct(tmp_path / "set", ct, {"????????": [(3, square(0, 3))]})
    written = (tmp_path / "set").read_bytes().replace(b"????????", b"\x1b$)A" + "结节".encode("gb2312"))
    (tmp_path / "set").write_bytes(written)
    dataset = pydicom.dcmread(tmp_path / "set")
    dataset.add_new("SpecificCharacterSet", "CS", ["", "ISO 2022 IR 58"])
    dataset.save_as(tmp_path / "set")
    assert list(structures(tmp_path, ct, "结节")) == ["结节"]


def test_a_labelmap_holds_each_segment(tmp_path: Path, ct: CtVolume) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1, 2], pixels[3, 4:6] = 1, 2
    write_seg(tmp_path / "seg", ct, [(0, 6, pixels), (0, 9, pixels // 2)], labelmap=True)
    found = structures(tmp_path, ct)
    assert np.argwhere(found["first"]).tolist() == [[2, 1, 2], [3, 3, 4], [3, 3, 5]]
    assert np.argwhere(found["second"]).tolist() == [[2, 3, 4], [2, 3, 5]]


def test_structures_of_another_frame_of_reference_are_refused(tmp_path: Path, ct: CtVolume) -> None:
    write_rtstruct(tmp_path / "set", ct, {"a": [(3, square(0, 3))], "b": [(3, square(0, 3))]})
    dataset = pydicom.dcmread(tmp_path / "set")
    for roi, frame in zip(dataset.StructureSetROISequence, (FRAME_OF_REFERENCE, "1.2.3"), strict=True):
        roi.ReferencedFrameOfReferenceUID = frame
    dataset.save_as(tmp_path / "set")
    assert list(structures(tmp_path, ct, "a")) == ["a"]
    with pytest.raises(ValueError, match=r"\['b'\] were drawn in the frame of reference 1\.2\.3, and the CT is in"):
        structures(tmp_path, ct)
    (tmp_path / "set").unlink()
    write_seg(tmp_path / "seg", ct, [(1, 6, np.ones((6, 8), np.uint8))])
    dataset = pydicom.dcmread(tmp_path / "seg")
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.save_as(tmp_path / "seg")
    with pytest.raises(ValueError, match="were drawn in the frame of reference"):
        structures(tmp_path, ct, "first")


def test_segmentations_off_the_grid_are_refused(tmp_path: Path, ct: CtVolume) -> None:
    pixels = np.ones((6, 8), np.uint8)
    write_seg(tmp_path / "seg", ct, [(1, 4.5, pixels)])
    with pytest.raises(ValueError, match="segment 'first' is not on the grid"):
        structures(tmp_path, ct)
    write_seg(tmp_path / "seg", ct, [(1, 3, pixels)], spacing=(1.0, 0.5))
    with pytest.raises(ValueError, match="segment 'first' is not on the grid"):
        structures(tmp_path, ct)
    write_seg(tmp_path / "seg", ct, [(1, 30, pixels)])
    with pytest.raises(ValueError, match="segment 'first' reaches beyond the CT"):
        structures(tmp_path, ct)


def test_published_structure_set(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LUNG1-003 of NSCLC-Radiomics against voxel counts of another tool and against scikit-image."""
    export = unpack(shared_data, "LUNG1-003", tmp_path)
    ct = read_ct(ct_series(export)[0])
    (series,) = structures_of(export, ct.series)
    found = {item.name: item for item in read_structures(series, ct, "GTV-*")}
    for name, voxels in {"GTV-1": 12111, "GTV-2": 13490, "GTV-3": 3043}.items():
        assert len(found[name].voxels_zyx) == pytest.approx(voxels, rel=0.02)
    monkeypatch.setattr(
        "dsmt_nnunet.dicom.contours.fill_polygon", lambda points, shape: polygon2mask(shape, points[:, ::-1])
    )
    for other in read_structures(series, ct, "GTV-*"):
        ours = {tuple(voxel) for voxel in found[other.name].voxels_zyx.tolist()}
        theirs = {tuple(voxel) for voxel in other.voxels_zyx.tolist()}
        assert 2 * len(ours & theirs) / (len(ours) + len(theirs)) > 0.98
