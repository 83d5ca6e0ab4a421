from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from dsmt_nnunet.reader_masks import read_reader_masks
from tests.unit.dicom.made_series import write_ct
from tests.unit.dicom.made_structures import lidc_xml
from tests.unit.dicom.test_lidc import outline


@pytest.mark.parametrize("options", [(), ("--pseudonyms", "names.csv")])
def test_what_each_reader_drew_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.chdir(tmp_path)
    hu = (np.arange(4 * 48).reshape(4, 6, 8) * 6 - 900).astype(np.int16)
    write_ct(tmp_path / "export", hu=hu)
    ct = read_ct(ct_series(read_export(tmp_path / "export"))[0])
    narrow, wide, other = outline(0, 3), outline(0, 4), outline(4, 7)
    sessions = [
        {"a": [(2, narrow, True), (1, narrow, True)]},
        {"n": [(2, wide, True)], "m": [(0, [(x - 1, y - 3) for x, y in other], True)]},
        {"n": [(2, wide, True)]},
    ]
    (tmp_path / "export" / "readings.xml").write_text(lidc_xml(ct, sessions))
    (tmp_path / "t.csv").write_text("patient_id,structure,pathology\nP1,nodule 1,AIS\nP1,nodule 2,IAC\n")
    (tmp_path / "names.csv").write_text("patient_id,pseudonym\nP1,someone\n")
    command = ["convert", "dicom", "export", "t.csv", "-d", "501", "-n", "Nodules", *options]
    assert main(command) == 0
    data_set = tmp_path / "raw" / "Dataset501_Nodules"
    case = "someone" if options else "P1"
    masks = read_reader_masks(data_set, case, "1")
    assert {reader: int(sitk.GetArrayFromImage(mask).sum()) for reader, mask in masks.items()} == {1: 8, 2: 9, 3: 9}
    image = sitk.ReadImage(str(data_set / "imagesTr" / f"{case}_0000.nii.gz"))
    place = masks[1].TransformPhysicalPointToIndex(image.TransformIndexToPhysicalPoint((1, 2, 1)))
    assert (masks[1][place], masks[2][place]) == (1, 0)
    assert list(read_reader_masks(data_set, case, "2")) == [2]
    consensus = sitk.GetArrayFromImage(sitk.ReadImage(str(data_set / "labelsTr" / f"{case}.nii.gz")))
    assert consensus.sum() == 9 + 4
