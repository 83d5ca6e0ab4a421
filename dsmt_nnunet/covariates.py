"""Clinical covariates: what is known of a nodule or its patient beside the image, typed, and as numbers for a model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CovariateValue = float | str | None
"""A number, the name of a category, or None where it is not known."""
Covariates = Mapping[str, CovariateValue]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_KEYS = ("unit", "categories")


@dataclass(frozen=True)
class Covariate:
    """One covariate: a number with its unit, or one of several categories.

    Attributes:
        name: an identifier: letters, digits and underscores, a letter first.
        unit: of a number; "" for none.
        categories: at least two; empty for a number.
    """

    name: str
    unit: str = ""
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Covariate name '{self.name}' must consist of letters, digits and underscores and begin with a letter."
            )
        if self.unit and self.categories:
            raise ValueError(f"Covariate '{self.name}' has a unit and categories; it is a number or a category.")
        if len(self.categories) == 1 or len(set(self.categories)) < len(self.categories):
            raise ValueError(
                f"Covariate '{self.name}' needs at least two different categories, got {list(self.categories)}."
            )
        if not all(name and name == name.strip() for name in self.categories):
            raise ValueError(
                f"Covariate '{self.name}': categories must not be empty or have blanks around them, "
                f"got {list(self.categories)}."
            )

    @property
    def is_number(self) -> bool:
        return not self.categories

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers that stand for it in a model: of two categories the second, of more each one."""
        if self.is_number:
            return (self.name,)
        coded = self.categories[1:] if len(self.categories) == 2 else self.categories
        return tuple(f"{self.name}={category}" for category in coded)

    def encode(self, value: CovariateValue) -> tuple[float, ...]:
        """One number a column; NaN each where the value is not known.

        Raises:
            ValueError: not a finite number, or not one of the categories.
        """
        if value is None:
            return (math.nan,) * len(self.columns)
        checked = self.check(value)
        if isinstance(checked, str):
            return tuple(float(column == f"{self.name}={checked}") for column in self.columns)
        return (checked,)

    def check(self, value: float | str) -> float | str:
        """The value: a finite number, or one of the categories.

        Raises:
            ValueError: it is neither.
        """
        if not self.is_number:
            if value not in self.categories:
                raise ValueError(
                    f"covariate {self.name} is '{value}'; its categories are {list(self.categories)}. Leave it out "
                    f"when it is not known."
                )
            return str(value)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            unit = f" in {self.unit}" if self.unit else ""
            raise ValueError(
                f"covariate {self.name} must be a finite number{unit}, got {value!r}. Leave it out when it is not "
                f"known."
            )
        return number

    def to_block(self) -> dict[str, Any]:
        """Its part of the `classification` block."""
        return {"unit": self.unit} if self.is_number else {"categories": list(self.categories)}

    @classmethod
    def from_block(cls, name: str, block: Mapping[str, Any]) -> Covariate:
        """Reads what `to_block` gave.

        Raises:
            ValueError: a key is not known, or a rule is broken.
        """
        unknown = sorted(set(block) - set(_KEYS))
        if unknown:
            raise ValueError(f"Covariate '{name}': {unknown} are not known; known are {', '.join(_KEYS)}.")
        return cls(name, str(block.get("unit", "")), tuple(map(str, block.get("categories", ()))))


def encode(covariates: Iterable[Covariate], values: Covariates) -> tuple[float, ...]:
    """The numbers of all columns of some covariates, in their order; NaN where not known.

    Raises:
        ValueError: a value is of another type, or no category.
    """
    return tuple(number for covariate in covariates for number in covariate.encode(values.get(covariate.name)))


def checked(covariates: Sequence[Covariate], values: Mapping[str, float | str | None]) -> dict[str, CovariateValue]:
    """The values of some covariates, None where not known.

    Args:
        covariates: those of a model.
        values: covariate -> value; what is not known may be left out.

    Raises:
        ValueError: a name is none of the covariates, or a value is of another type.
    """
    names = [covariate.name for covariate in covariates]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{unknown} are no covariates of the model; it has {names or 'none'}.")
    return {
        covariate.name: None if (value := values.get(covariate.name)) is None else covariate.check(value)
        for covariate in covariates
    }


def as_text(value: CovariateValue) -> str:
    """As it stands in a cell: empty where it is not known."""
    return "" if value is None else value if isinstance(value, str) else repr(value).removesuffix(".0")
