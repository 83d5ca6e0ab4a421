from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.inference.classifier import NoduleOutput
from dsmt_nnunet.inference.given_nodules import paste_patches


def output_at(start: tuple[int, int, int], value: float) -> NoduleOutput:
    return NoduleOutput(start, np.stack([np.full((4, 4, 4), -value), np.full((4, 4, 4), value)]), {})


def test_patches_are_pasted_over_background_and_averaged_where_they_overlap() -> None:
    logits = paste_patches([output_at((-2, 0, 0), 1.0), output_at((0, 0, 0), 3.0)], (8, 8, 8))
    assert logits.shape == (2, 8, 8, 8)
    np.testing.assert_allclose(logits[1, :2, :4, :4], 2.0)
    np.testing.assert_allclose(logits[1, 2:4, :4, :4], 3.0)
    assert (logits.argmax(0)[4:] == 0).all()
    assert (logits.argmax(0)[:, 4:] == 0).all()


@pytest.mark.parametrize("start", [(6, 6, 6), (-3, 5, -1), (-6, 0, 0), (0, 10, 0), (-30, 0, 0)])
def test_a_patch_that_reaches_outside_is_cut(start: tuple[int, int, int]) -> None:
    logits = paste_patches([output_at(start, 1.0)], (8, 8, 8))
    expected = np.zeros((8, 8, 8))
    expected[tuple(slice(max(0, s), max(0, s + 4)) for s in start)] = 1
    np.testing.assert_array_equal(logits.argmax(0), expected)
