from __future__ import annotations

import pytest

from dsmt_nnunet.dataset_conversion.cells import parse_number


@pytest.mark.parametrize(
    ("text", "value"), [("11", 11), ("11,5", 11.5), ("-0.5", -0.5), ("1e2", 100), (",5", 0.5), ("12.345", 12.345)]
)
def test_numbers(text: str, value: float) -> None:
    assert parse_number(text, "diameter_mm") == value


@pytest.mark.parametrize(
    "text", ["1,234", "-12,345", "1_2", "1.234,5", "nan", "inf", "1e999", "0x1", "1 2", "", "9 mm", "١٢"]
)
def test_what_is_no_number_or_may_be_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="diameter_mm"):
        parse_number(text, "diameter_mm")
