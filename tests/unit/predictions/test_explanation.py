from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.predictions.explanation import Explanation, ExplanationMap, explanation_path

RNG = np.random.default_rng(0)
LOCAL = ExplanationMap(
    RNG.normal(size=(4, 5, 6)).astype(np.float32),
    ArrayGeometry((2.0, 1.0, 1.5), (4, 5, 6), np.array([[0, 0, 0.5, 3], [0, 1.0, 0, 2], [2 / 3, 0, 0, -7]])),
)
CONTEXT = ExplanationMap(
    RNG.normal(size=(3, 3, 3)).astype(np.float32), ArrayGeometry((5.0,) * 3, (3, 3, 3), np.eye(3, 4) / 5)
)


@pytest.mark.parametrize("context", [CONTEXT, None], ids=["two scales", "one scale"])
def test_maps_are_read_as_written(tmp_path: Path, context: ExplanationMap | None) -> None:
    path = explanation_path(tmp_path, "case", "1")
    Explanation("invasiveness", "invasive", LOCAL, context, ("aa", "bb"), "12345678").write(path)
    back = Explanation.read(path)
    assert (back.weights, back.image_crc32) == (("aa", "bb"), "12345678")
    assert (back.task, back.class_name) == ("invasiveness", "invasive")
    assert (back.context is None) == (context is None)
    for part, expected in ((back.local, LOCAL), (back.context, context)):
        if part is not None and expected is not None:
            np.testing.assert_allclose(part.values, expected.values, rtol=1e-3)
            np.testing.assert_array_equal(part.geometry.world_to_voxel, expected.geometry.world_to_voxel)
            assert part.geometry.spacing_mm == expected.geometry.spacing_mm
            assert part.geometry.shape == expected.values.shape


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = explanation_path(tmp_path, "case", "1")
    explanation = Explanation("t", "yes", LOCAL, None)
    explanation.write(path)
    before = path.read_bytes()

    def interrupted(target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explanation.write(path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    explanation.write(path)
    assert list(path.parent.iterdir()) == [path]


def test_names_that_no_file_can_have_are_encoded(tmp_path: Path) -> None:
    path = explanation_path(tmp_path, "case", "left/upper 1")
    assert path.parent == tmp_path / "explanations"
    assert path.name == "case__left%2Fupper 1.npz"
    Explanation("t", "yes", LOCAL, None).write(path)
    assert path.is_file()


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case__1.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"case__1\.npz holds no maps.*dsmt explain"):
        Explanation.read(path)


def test_another_archive_is_no_explanation(tmp_path: Path) -> None:
    path = tmp_path / "case__1.npz"
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match="holds no maps"):
        Explanation.read(path)


def test_no_two_nodules_share_a_file() -> None:
    pairs = [("A__1", "2"), ("A", "1__2"), ("A_", "1"), ("A", "_1"), ("A", "1%5F2"), ("A", "1_2")]
    assert len({explanation_path(Path("p"), case_id, nodule_id) for case_id, nodule_id in pairs}) == len(pairs)
