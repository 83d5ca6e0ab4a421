from __future__ import annotations

import math

import pytest

from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.tasks import ClassificationSchema, Task


@pytest.mark.parametrize(
    ("diameter_mm", "held"), [(7.9, False), (8, True), (15, True), (22, True), (22.1, False), (math.nan, True)]
)
def test_both_ends_belong_to_it_and_what_is_not_known_may(diameter_mm: float, held: bool) -> None:
    assert DiameterRange(8, 22).holds(diameter_mm) is held


@pytest.mark.parametrize("values", [(20, 10), (-1, 10), (10, 10), (math.nan, 10), (10,), (1, 2, 3)])
def test_malformed_ranges(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="two"):
        DiameterRange.of(values)


def test_a_schema_keeps_which_nodules_it_is_asked_of() -> None:
    task = Task("invasiveness", ("non-invasive", "invasive"))
    schema = ClassificationSchema((task,), task.name, asked=DiameterRange(8, 22.5))
    assert ClassificationSchema.from_block(schema.to_block()) == schema
    assert schema.to_block()["asked_diameter_mm"] == [8, 22.5]
    assert "asked_diameter_mm" not in ClassificationSchema((task,), task.name).to_block()
