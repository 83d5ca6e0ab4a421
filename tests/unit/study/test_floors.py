from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.study import floors
from dsmt_nnunet.study.floors import RADIOMICS, RULER, MeasuredNodule, Split, floor_columns

SPACING = (0.8, 0.8, 2.0)


def nodule_files(folder: Path, case_id: str, diameter_mm: float, hu: float, empty: bool = False) -> tuple[Path, Path]:
    """A ball in lung, its centre at (16, 16, 20) mm."""
    z, y, x = (np.arange(n) * s for n, s in zip((20, 40, 40), SPACING[::-1], strict=True))
    distance = np.sqrt((z[:, None, None] - 20) ** 2 + (y[:, None] - 16) ** 2 + (x - 16) ** 2)
    inside = distance <= diameter_mm / 2
    files = []
    for kind, array in (
        ("image", np.where(inside, hu, -850).astype(np.int16)),
        ("mask", (inside & (not empty)).astype(np.uint8)),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        files.append(folder / f"{case_id}_{kind}.nii.gz")
        sitk.WriteImage(image, str(files[-1]))
    return files[0], files[1]


@pytest.fixture
def nodules(tmp_path: Path) -> list[MeasuredNodule]:
    """Thirty nodules; the positive ones are denser, and all have the same diameters."""
    rng = np.random.default_rng(0)
    measured = []
    for number in range(30):
        label = number % 2
        diameter = 8.0 + (number // 2) % 5
        image, mask = nodule_files(tmp_path, f"c{number}", diameter, -500 + 300 * label + rng.normal(0, 150))
        nodule = Nodule(f"c{number}", "1", f"p{number}", (16.0, 16.0, 20.0), diameter, {})
        measured.append(MeasuredNodule(nodule, label, image, mask))
    return measured


def split() -> Split:
    names = [f"c{number}" for number in range(30)]
    return Split(frozenset(names[:20]), frozenset(names[20:]))


def test_density_tells_the_classes_apart_and_only_unseen_nodules_are_scored(nodules: list[MeasuredNodule]) -> None:
    scores = floors.ruler_scores(nodules, [split()])
    assert set(scores) == {(f"c{number}", "1") for number in range(20, 30)}
    assert roc_auc_score([item.label for item in nodules[20:]], [scores[item.key] for item in nodules[20:]]) > 0.8


def test_what_is_not_learnt_from_does_not_count(nodules: list[MeasuredNodule]) -> None:
    swapped = [
        MeasuredNodule(item.nodule, 1 - item.label if number >= 20 else item.label, item.image, item.mask)
        for number, item in enumerate(nodules)
    ]
    assert floors.ruler_scores(swapped, [split()]) == floors.ruler_scores(nodules, [split()])


def test_the_nodule_is_cut_out_with_its_own_mask(tmp_path: Path) -> None:
    image, mask = nodule_files(tmp_path, "c", 10.0, 40.0)
    labels = sitk.ReadImage(str(mask))
    labels[38, 38, 18] = 1
    sitk.WriteImage(labels, str(mask))
    nodule = Nodule("c", "1", "p", (16.0, 16.0, 20.0), math.nan, {})
    cut, own = floors._around(MeasuredNodule(nodule, 1, image, mask))
    assert cut.GetSize() == own.GetSize() == (39, 39, 15)
    values = sitk.GetArrayFromImage(cut)[sitk.GetArrayFromImage(own) > 0]
    assert (values == 40).all()
    assert len(values) == (sitk.GetArrayFromImage(sitk.ReadImage(str(image))) == 40).sum()
    centre = own.TransformPhysicalPointToIndex((16.0, 16.0, 20.0))
    assert own[centre] == 1


def test_a_nodule_without_mask_gets_the_middle_of_the_others(tmp_path: Path, nodules: list[MeasuredNodule]) -> None:
    image, mask = nodule_files(tmp_path, "c20", 10.0, 40.0, empty=True)
    assert image == nodules[20].image
    assert mask == nodules[20].mask
    scores = floors.ruler_scores(nodules, [split()])
    assert 0.2 < scores["c20", "1"] < 0.8


def test_without_mirp_there_is_the_ruler_alone(
    nodules: list[MeasuredNodule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mirp", None)
    monkeypatch.setattr(floors.importlib.util, "find_spec", lambda name: None)
    assert list(floor_columns(nodules, [split()], tmp_path / "radiomics.csv", 1)) == [RULER]
    assert "pip install 'dsmt-nnunet[study]'" in capsys.readouterr().out


def test_features_are_kept_and_measured_again_when_nodules_are_added(
    nodules: list[MeasuredNodule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measured(item: MeasuredNodule) -> dict[str, float]:
        asked.append(item.label)
        return {"stat_mean": float(item.label), "morph_volume": item.nodule.diameter_mm}

    monkeypatch.setattr(floors, "_radiomics", measured)
    monkeypatch.setattr(floors, "has_radiomics", lambda: True)
    cache = tmp_path / "radiomics.csv"
    few = floor_columns(nodules[:28], [split()], cache, 1)[RADIOMICS]
    assert floor_columns(nodules[:28], [split()], cache, 1)[RADIOMICS] == few
    assert len(asked) == 28
    scores = floor_columns(nodules, [split()], cache, 1)[RADIOMICS]
    assert len(asked) == 28 + 30
    status = nodules[3].mask.stat()
    nodules[3].mask.touch()
    floor_columns(nodules, [split()], cache, 1)
    assert len(asked) == 28 + 30, "a file that was copied is the same file"
    content = bytearray(nodules[3].mask.read_bytes())
    content[4] ^= 1  # a time stamp of gzip
    nodules[3].mask.write_bytes(content)
    os.utime(nodules[3].mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    floor_columns(nodules, [split()], cache, 1)
    assert len(asked) == 28 + 30 + 30, "a mask that has changed is measured again"
    assert roc_auc_score([item.label for item in nodules[20:]], [scores[item.key] for item in nodules[20:]]) == 1.0


def test_a_nodule_without_mask_has_no_radiomics(tmp_path: Path) -> None:
    pytest.importorskip("mirp", reason="MIRP is not installed (pip install 'dsmt-nnunet[study]')")
    image, mask = nodule_files(tmp_path, "c", 12.0, 40.0, empty=True)
    nodule = Nodule("c", "1", "p", (16.0, 16.0, 20.0), 12.0, {})
    assert floors._radiomics(MeasuredNodule(nodule, 1, image, mask)) == {}


def test_radiomics_of_a_ball(tmp_path: Path) -> None:
    pytest.importorskip("mirp", reason="MIRP is not installed (pip install 'dsmt-nnunet[study]')")
    image, mask = nodule_files(tmp_path, "c", 12.0, 40.0)
    nodule = Nodule("c", "1", "p", (16.0, 16.0, 20.0), 12.0, {})
    features = floors._radiomics(MeasuredNodule(nodule, 1, image, mask))
    assert features["PhysicalSize"] == pytest.approx(np.pi / 6 * 12**3, rel=0.1)
    assert features["Axis0"] == pytest.approx(features["Axis2"], rel=0.1) == pytest.approx(12.0, rel=0.1)
    assert features["Roundness"] == pytest.approx(1.0, abs=0.1)
    assert len(features) > 100, "texture too"
    assert features["stat_median"] == pytest.approx(40.0, abs=20)
    assert not any(name.startswith("image") for name in features)
