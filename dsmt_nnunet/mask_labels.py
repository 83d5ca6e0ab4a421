"""What the labels of a data set's masks may be: everything but background is nodule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_labels(labels: Mapping[str, Any]) -> None:
    """Checks the `labels` of a dataset.json; regions (lists) and the ignore label are refused by name elsewhere.

    Raises:
        ValueError: they are not numbered from background on, or one of several is no nodule.
    """
    if any(isinstance(value, list) for value in labels.values()):
        return
    if labels and (labels.get("background") != 0 or sorted(map(str, labels.values())) != _numbered(len(labels))):
        raise ValueError(
            f"dataset.json has the labels {dict(labels)}. They read NAME: NUMBER, with background 0 and the others "
            f"1, 2 and so on without a gap, as nnU-Net takes them."
        )
    foreground = [name for name, value in labels.items() if value != 0 and name != "ignore"]
    others = [name for name in foreground if "nodule" not in name.lower()]
    if len(foreground) > 1 and others:
        raise ValueError(
            f"dataset.json has the labels {labels}, and DSMT takes everything but background for nodule. Make "
            f"{others} background, or, if they are parts of nodules, say so in their names ('solid nodule')."
        )


def _numbered(count: int) -> list[str]:
    return sorted(map(str, range(count)))
