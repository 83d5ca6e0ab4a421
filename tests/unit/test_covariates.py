from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dsmt_nnunet.covariates import Covariate, as_text, checked, encode

AGE, SEX = Covariate("age", "years"), Covariate("sex", categories=("female", "male"))
LOBE = Covariate("lobe", categories=("upper", "middle", "lower"))


def test_numbers_stay_and_categories_are_one_hot() -> None:
    columns = [column for covariate in (AGE, SEX, LOBE) for column in covariate.columns]
    assert columns == ["age", "sex=male", "lobe=upper", "lobe=middle", "lobe=lower"]
    assert encode((AGE, SEX, LOBE), {"age": 63, "sex": "male", "lobe": "middle"}) == (63.0, 1.0, 0.0, 1.0, 0.0)
    assert encode((SEX,), {"sex": "female"}) == (0.0,)


def test_what_is_not_known_is_nan_in_all_its_columns() -> None:
    np.testing.assert_array_equal(encode((AGE, LOBE), {"lobe": None}), [math.nan] * 4)


@pytest.mark.parametrize(
    ("covariate", "value", "message"),
    [
        (AGE, "old", "age must be a finite number in years, got 'old'"),
        (AGE, math.inf, "finite"),
        (AGE, True, "finite"),
        (SEX, "Female", r"its categories are \['female', 'male'\]"),
        (SEX, 1, "categories"),
    ],
)
def test_values_of_another_type_are_refused(covariate: Covariate, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        covariate.encode(value)


def test_names_that_a_model_does_not_have_are_refused() -> None:
    assert checked((AGE, SEX), {"age": 63}) == {"age": 63.0, "sex": None}
    with pytest.raises(ValueError, match=r"\['cea'\] are no covariates of the model; it has \['age'\]"):
        checked((AGE,), {"cea": 3.0})
    with pytest.raises(ValueError, match="it has none"):
        checked((), {"cea": 3.0})


@pytest.mark.parametrize("covariate", [AGE, SEX, Covariate("packs")])
def test_the_block_reads_back(covariate: Covariate) -> None:
    assert Covariate.from_block(covariate.name, covariate.to_block()) == covariate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "2nd"}, "begin with a letter"),
        ({"unit": "mm", "categories": ("a", "b")}, "a number or a category"),
        ({"categories": ("a",)}, "at least two different"),
        ({"categories": ("a", "a")}, "at least two different"),
        ({"categories": ("a", " b")}, "blanks"),
    ],
)
def test_rules(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Covariate(**{"name": "x", **options})
    with pytest.raises(ValueError, match="not known; known are unit, categories"):
        Covariate.from_block("x", {"units": "mm"})


@pytest.mark.parametrize(("value", "text"), [(None, ""), (63.0, "63"), (3.25, "3.25"), ("male", "male")])
def test_a_cell(value: Any, text: str) -> None:
    assert as_text(value) == text
