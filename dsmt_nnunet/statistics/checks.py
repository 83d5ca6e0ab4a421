"""What every statistic asks of its input: labels of 0 and 1, finite scores, the same length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MAX_ROWS_NAMED = 20
SMALL_SAMPLE = 10
"""Below this many cases every report carries a `SmallSampleWarning`."""
LARGEST_EXACT = 2**53
"""Larger whole numbers are rounded as float64: scores that differ would become ties."""


def plain_array(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """An array of real values, none of them behind a mask, of which NumPy would lose mask or imaginary part.

    Raises:
        ValueError: it is not.
    """
    if np.ma.isMaskedArray(values):
        raise ValueError(f"{what} is a masked array, of which nothing is left out here. Take the values that count.")
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError) as error:  # a tensor with a gradient, or of a type that NumPy does not have
        raise ValueError(f"{what} cannot be read as an array: {error}") from error
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
        ValueError: another number of cases, no numbers, numbers too large to be told apart, NaN or infinite values; the
            rows are named.
    """
    scores = _numbers(plain_array(y_score, "y_score"))
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


def _numbers(array: npt.NDArray[Any]) -> FloatArray:
    """An array as float64, each number the one it was; None becomes NaN.

    Raises:
        ValueError: text, times and the like, of which NumPy would make numbers of its own, or numbers too large.
    """
    if array.dtype.kind == "O":
        strange = [value for value in array.flat if not isinstance(value, Real | Decimal | None)]
        large = [value for value in array.flat if isinstance(value, Integral) and abs(int(value)) > LARGEST_EXACT]
    else:
        strange = [] if array.dtype.kind in "biuf" else array.ravel()[:1].tolist()
        is_large = (array > LARGEST_EXACT) | (array < -LARGEST_EXACT) if array.dtype.kind in "iu" else np.array([], int)
        large = array[is_large].tolist()
    if strange:
        raise ValueError(f"y_score must hold numbers, got {strange[0]!r} ({array.dtype}).")
    if large:
        raise ValueError(f"Scores up to {LARGEST_EXACT:,} can be told apart, got {large[0]!r}. Scale them.")
    return np.asarray(array, dtype=np.float64)


def named_rows(rows: Iterable[object]) -> str:
    """Names the first rows of a list for an error message: "row 3", "rows 3, 5 and 2 more"."""
    names = [str(row) for row in rows]
    shown = ", ".join(names[:MAX_ROWS_NAMED])
    more = f" and {len(names) - MAX_ROWS_NAMED} more" if len(names) > MAX_ROWS_NAMED else ""
    return f"{'row' if len(names) == 1 else 'rows'} {shown}{more}"
