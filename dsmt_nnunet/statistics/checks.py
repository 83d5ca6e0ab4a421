"""What every statistic asks of its input: labels of 0 and 1, finite scores, the same length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MAX_ROWS_NAMED = 20
SMALL_SAMPLE = 10
"""Below this many cases every report carries a `SmallSampleWarning`."""


def plain_array(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """An array of real values, none of them behind a mask, of which NumPy would lose mask or imaginary part.

    Raises:
        ValueError: it is not.
    """
    if np.ma.isMaskedArray(values):
        raise ValueError(f"{what} is a masked array, of which nothing is left out here. Take the values that count.")
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise ValueError(f"{what} must hold real numbers, got {array.dtype}.")
    return array


def binary_labels(y_true: npt.ArrayLike) -> BoolArray:
    """Labels as booleans, shape (N,).

    Raises:
        ValueError: not one-dimensional, or a value that is neither 0 nor 1.
    """
    values = plain_array(y_true, "y_true")
    if values.ndim != 1:
        raise ValueError(f"y_true must have one dimension, got shape {values.shape}.")
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        raise ValueError(f"y_true must be 0 or 1, got {values[wrong][0]!r} at {named_rows(np.flatnonzero(wrong))}.")
    return values.astype(bool)


def finite_scores(y_score: npt.ArrayLike, n_cases: int, rows: Sequence[object] | None = None) -> FloatArray:
    """Scores as float64, shape (N,) or (M, N) for M scores of the same cases.

    Args:
        y_score: higher means positive.
        n_cases: N, the number of labels.
        rows: names of the cases for the message; their indices by default.

    Raises:
        ValueError: another number of cases, NaN or infinite values; the rows are named.
    """
    scores = np.asarray(plain_array(y_score, "y_score"), dtype=np.float64)
    if scores.ndim not in (1, 2) or scores.shape[-1] != n_cases:
        raise ValueError(f"y_score must have {n_cases} cases on its last axis, one a label; got shape {scores.shape}.")
    wrong = ~np.isfinite(scores)
    if wrong.any():
        cases = np.flatnonzero(wrong if scores.ndim == 1 else wrong.any(axis=0))
        names = cases.tolist() if rows is None else [rows[index] for index in cases.tolist()]
        raise ValueError(
            f"Scores must be finite numbers; NaN or infinite at {named_rows(names)}. "
            f"Fill them in, or take those cases out of the table."
        )
    return scores


def named_rows(rows: Iterable[object]) -> str:
    """Names the first rows of a list for an error message: "row 3", "rows 3, 5 and 2 more"."""
    names = [str(row) for row in rows]
    shown = ", ".join(names[:MAX_ROWS_NAMED])
    more = f" and {len(names) - MAX_ROWS_NAMED} more" if len(names) > MAX_ROWS_NAMED else ""
    return f"{'row' if len(names) == 1 else 'rows'} {shown}{more}"
