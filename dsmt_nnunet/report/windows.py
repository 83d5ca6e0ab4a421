"""Densities as the pictures of the page keep them, and the windows through which it shows them.

A picture has 256 shades. They are spent where windows look: 10 HU a shade in lung, 4 HU in soft tissue, 27 HU in bone.
The page turns the shades of any picture into those of a window by a table, so that one picture serves every window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STORED_HU = (-1350.0, -160.0, 240.0, 1300.0)
"""Between these densities shades rise evenly; what lies outside is cut off."""
STORED_SHADES = (0, 115, 215, 255)
_STEPS = 51
"""Intervals of a table: 5 shades each, so that the corners of `STORED_SHADES` are entries."""


@dataclass(frozen=True)
class Window:
    """A window of grey values.

    Attributes:
        name: as radiologists call it.
        level_hu, width_hu: centre and width in HU.
    """

    name: str
    level_hu: float
    width_hu: float

    @property
    def low_hu(self) -> float:
        return self.level_hu - self.width_hu / 2

    @property
    def high_hu(self) -> float:
        return self.level_hu + self.width_hu / 2

    @property
    def words(self) -> str:
        """Name, level and width."""
        return f"{self.name} {self.level_hu:.0f} / {self.width_hu:.0f}".replace("-", "−")

    @property
    def table(self) -> str:
        """Brightness, 0 to 1, of evenly spaced stored shades (`tableValues` of SVG's feFuncR)."""
        hu = np.interp(np.linspace(0, STORED_SHADES[-1], _STEPS + 1), STORED_SHADES, STORED_HU)
        shares = np.clip((hu - self.low_hu) / self.width_hu, 0, 1)
        return " ".join(f"{share:.3f}".rstrip("0").rstrip(".") for share in shares)


WINDOWS = (Window("lung", -600, 1500), Window("soft tissue", 40, 400), Window("bone", 400, 1800))
"""The first is the one of a page that was just opened."""


def stored_shades(intensity_hu: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Densities in HU as shades of a picture, darker is less dense."""
    shades = np.interp(intensity_hu, STORED_HU, STORED_SHADES).round()
    return np.asarray(shades, dtype=np.uint8)
