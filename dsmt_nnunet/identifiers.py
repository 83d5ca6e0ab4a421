"""What a case identifier may be, and who a patient is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

MAX_LENGTH = 128
"""Letters of a case identifier: nnU-Net and our own files add endings, and file systems end names at 255."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
RESERVED = ("dataset", "plans", "summary", "predict_from_raw_data_args", "postprocessing", "classification", "nodules")
"""Names of files that nnU-Net and this package write beside the cases."""
_ENDINGS = (".nii", ".gz", ".nia", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".gipl", ".vtk", ".mnc", ".tif",
            ".tiff", ".dcm", ".npz", ".npy", ".pkl", ".json", ".csv", ".b2nd", ".png", ".tmp")  # fmt: skip
_SEPARATOR = re.compile(r"(?<=[^\W\d_])[-_./]+(?=[0-9])")
_NUMBER = re.compile(r"0*([0-9]+?)(?:\.0+)?")


def case_id_problem(case_id: str) -> str | None:
    """Why `case_id` cannot be an nnU-Net case identifier, as the end of "a case_id ..."; None when it can.

    Numbers such as `case_0001` are fine: nnU-Net adds its own channel number behind them.
    """
    if not _SAFE.fullmatch(case_id):
        return "may hold letters (A-Z, a-z), digits, '.', '_' and '-' only, and must not begin with '.' or '-'"
    if case_id.endswith("."):
        return "must not end with '.'"
    if case_id.endswith("_seg") or "segFromPrevStage" in case_id:
        return "must not end with '_seg' or hold 'segFromPrevStage': nnU-Net names its own files so"
    if len(case_id) > MAX_LENGTH:
        return f"must not be longer than {MAX_LENGTH} letters (this has {len(case_id)})"
    if case_id.lower() in RESERVED:
        return f"must not be one of {list(RESERVED)}: files of these names lie beside the cases"
    if "__" in case_id:
        return "must not hold '__', which stands between case and nodule in names of files"
    if case_id.lower().endswith(_ENDINGS):
        return "must not end like a file name: nnU-Net would not find it"
    return None


def nodule_in_file_name(nodule_id: str) -> str:
    """A nodule_id with what no file name may hold percent-encoded, and `_`: `__` stands between case and nodule."""
    return quote(nodule_id, safe=" ").replace("_", "%5F")


def same_person_key(patient_id: str) -> str:
    """The same for spellings that mean one person: `A01`, `a01` and `A-01`; `1`, `01` and `1.0`; blanks around, within.

    What stands between two numbers stays: `1-12` and `11-2` are two persons. So are `A01` and `A1`.
    """
    key = "".join(unicodedata.normalize("NFKC", patient_id).casefold().split())
    number = _NUMBER.fullmatch(key)
    return number[1] if number else _SEPARATOR.sub("", key)


def look_alikes(patient_ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Spellings that may mean one person, each group in the order in which they came."""
    groups: dict[str, dict[str, None]] = {}
    for patient_id in patient_ids:
        groups.setdefault(same_person_key(patient_id), {})[patient_id] = None
    return [tuple(group) for group in groups.values() if len(group) > 1]
