from __future__ import annotations

from typing import Any

import pytest

from dsmt_nnunet.mask_labels import check_labels


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 1, "nodule": 0},
        {"background": 0, "nodule": 2},
        {"nodule": 1},
        {"0": "background", "1": "nodule"},
        {"background": 0, "nodule": "1", "solid nodule": "one"},
    ],
)
def test_labels_that_nnunet_cannot_number_are_refused(labels: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="background 0 and the others 1, 2"):
        check_labels(labels)


@pytest.mark.parametrize(
    "labels",
    [{}, {"background": 0, "nodule": 1}, {"background": 0, "nodule": 1, "ignore": 2}, {"background": 0, "all": [1, 2]}],
)
def test_others_are_fine_here(labels: dict[str, Any]) -> None:
    check_labels(labels)
