"""The measurement itself, with a model that sees one sign and nothing else."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from benchmarks import sign_removal
from dsmt_nnunet.dataset_conversion.phantom.cohort import SIGNS, PhantomCase, draw_cohort
from dsmt_nnunet.dataset_conversion.phantom.render import RenderedCase, render_case
from dsmt_nnunet.inference.predictor import DSMTPredictor

NO_PREDICTOR = cast(DSMTPredictor, None)


def case_showing(*shown: str) -> PhantomCase:
    """A phantom with one nodule, which shows these signs and no other."""
    for case in draw_cohort(7, 200, "test", 64):
        if len(case.nodules) == 1 and {sign for sign in SIGNS if getattr(case.nodules[0], sign)} == set(shown):
            return case
    raise AssertionError(f"no phantom shows {shown}")


def watch(monkeypatch: pytest.MonkeyPatch, case: PhantomCase, seen: str) -> None:
    """A model whose log-odds of the sign `seen` fall by one a voxel that is not as drawn, and of others stay 0."""
    drawn = render_case(case).intensity_hu

    def log_odds(predictor: DSMTPredictor, rendered: RenderedCase, places: RenderedCase) -> list[dict[str, float]]:
        changed = float(np.count_nonzero(rendered.intensity_hu != drawn))
        return [{sign: -changed * (sign == seen) for sign in SIGNS}] * int(places.instances.max())

    monkeypatch.setattr(sign_removal, "log_odds", log_odds)


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_that_the_model_sees_falls_when_it_is_taken_out(monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    case = case_showing(sign)
    watch(monkeypatch, case, sign)
    (removal,) = sign_removal.removals(NO_PREDICTOR, case)
    assert removal.sign == sign
    assert removal.fall > 0
    assert removal.other_fall == 0


def test_a_model_that_looks_elsewhere_does_not_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, other = SIGNS
    case = case_showing(other)
    watch(monkeypatch, case, seen)
    (removal,) = sign_removal.removals(NO_PREDICTOR, case)
    assert removal.fall == 0
    assert removal.other_fall > 0


def test_nothing_is_asked_where_no_sign_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_showing()
    monkeypatch.delattr(sign_removal, "log_odds")
    assert list(sign_removal.removals(NO_PREDICTOR, case)) == []
