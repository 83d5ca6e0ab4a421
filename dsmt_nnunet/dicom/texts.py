"""Text of DICOM attributes as it was meant."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

_ESCAPE = re.compile(r"\x1b\$?[()*+,./-]?[@-Z]")
"""Of ISO 2022, between character sets. pydicom (3.0) takes out those that it decodes by, but not ESC $ ) A of IR 58."""


def text_of(dataset: Dataset, keyword: str) -> str:
    """Value of an attribute without blanks around it, "" where it is missing or empty."""
    value = dataset.get(keyword)
    return "" if value is None else _ESCAPE.sub("", str(value)).strip()
