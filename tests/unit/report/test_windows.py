"""Windows: what a picture's shade becomes on the screen is what the window says of its density."""

from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.report.windows import STORED_SHADES, WINDOWS, Window, stored_shades


def shown(window: Window, intensity_hu: list[float]) -> np.ndarray:
    """Brightness that SVG's table function gives (SVG 1.1, 15.11: linear between evenly spaced entries)."""
    table = np.array([float(text) for text in window.table.split()])
    shares = stored_shades(np.array(intensity_hu, dtype=np.float32)) / 255
    place = shares * (len(table) - 1)
    low = np.minimum(np.floor(place).astype(int), len(table) - 2)
    return table[low] + (place - low) * (table[low + 1] - table[low])


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_a_window_shows_densities_evenly(window: Window) -> None:
    inside = np.linspace(window.low_hu, min(window.high_hu, 1300), 30).tolist()
    expected = (np.array(inside) - window.low_hu) / window.width_hu
    coarse = 30 / window.width_hu  # one shade of bone; a corner of the window within an interval of the table
    np.testing.assert_allclose(shown(window, inside), expected, atol=0.01 + coarse)
    assert shown(window, [window.low_hu - 100, window.high_hu + 200]).tolist() == pytest.approx([0, 1], abs=0.01)


def test_soft_tissue_keeps_a_hundred_shades() -> None:
    low, high = WINDOWS[1].low_hu, WINDOWS[1].high_hu
    shades = stored_shades(np.array([low, high], dtype=np.float32))
    assert int(shades[1]) - int(shades[0]) == 100
    assert stored_shades(np.array([-5000, 9000], dtype=np.float32)).tolist() == [0, STORED_SHADES[-1]]


def test_windows_are_told_in_words() -> None:
    assert [window.words for window in WINDOWS] == ["lung −600 / 1500", "soft tissue 40 / 400", "bone 400 / 1800"]
