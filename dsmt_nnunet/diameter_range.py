"""Which nodules a question is about, by their diameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DiameterRange:
    """Diameters from the smallest to the largest, both included, in mm."""

    smallest: float
    largest: float

    def __post_init__(self) -> None:
        if not 0 <= self.smallest < self.largest:
            raise ValueError(
                f"The diameter range must be two rising numbers from 0 on (mm), got {(self.smallest, self.largest)}."
            )

    @classmethod
    def of(cls, values: Sequence[float] | None) -> DiameterRange | None:
        """The range between two numbers; None for None.

        Raises:
            ValueError: they are not two rising numbers from 0 on.
        """
        if values is None:
            return None
        if len(values) != 2:
            raise ValueError(f"A diameter range is two numbers (mm), got {values!r}.")
        return cls(float(values[0]), float(values[1]))

    def holds(self, diameter_mm: float) -> bool:
        """Whether a diameter is within; one that is not known (NaN) may be."""
        return not (diameter_mm < self.smallest or diameter_mm > self.largest)

    def __str__(self) -> str:
        return f"{self.smallest:g} to {self.largest:g} mm"
