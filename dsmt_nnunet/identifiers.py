"""What a case identifier may be, and who a patient is."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

MAX_LENGTH = 128
"""Letters of a case identifier: nnU-Net and our own files add endings, and file systems end names at 255."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
RESERVED = ("dataset", "plans", "summary", "predict_from_raw_data_args", "postprocessing", "classification", "nodules")
"""Names of files that nnU-Net and this package write beside the cases."""
_ENDINGS = (".nii", ".gz", ".nia", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".gipl", ".vtk", ".mnc", ".tif",
            ".tiff", ".dcm", ".npz", ".npy", ".pkl", ".json", ".csv", ".b2nd", ".png", ".tmp")  # fmt: skip
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<=[^\W\d_])[-_./]+(?=[0-9])")
_NUMBER = re.compile(r"0*([0-9]+?)(?:[.,]0+)?")
_NOBODY = frozenset(("na", "n/a", "#n/a", "nan", "none", "null", "nil", "unknown", "unk", "missing", "tbd", "?", "-",
                     "--", "unbekannt", "k.a.", "未知", "不详", "不明"))  # fmt: skip
_SHEET_ERROR = re.compile(r"#(?:ref!|value!|div/0!|name\?|null!|num!|spill!|calc!|#+)")
_SHORTENED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2,}", re.IGNORECASE)
_LOST_LETTER = "\ufffd"
_LOOK_ALIKE = str.maketrans("авекмнорстухіјѕαβεζηικμνορτυχ", "abekmhopctyxijsabezhikmnoptyx")
"""Small letters of Cyrillic and Greek whose capitals are drawn as Latin ones are."""
_QUOTES = "'`´‘’\""


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
    if _DEVICES.fullmatch(case_id):
        return "must not be the name of a device (con, aux, nul, com1, ...), which Windows does not take for a file"
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

    Nor do kinds of dashes, digits of other scripts, signs that are not drawn, a quote before a number, and Cyrillic and
    Greek capitals that look like Latin ones make another person. What stands between two numbers stays: `1-12` and
    `11-2` are two persons. So are `A01` and `A1`.
    """
    return _SEPARATOR.sub("", same_name_key(patient_id))


def same_name_key(name: str) -> str:
    """The same for spellings of a class, a level or a case: as of a person, but for separators: `A-1` is not `A1`."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    key = "".join(map(_plain, letters)).translate(_LOOK_ALIKE).lstrip(_QUOTES)
    number = _NUMBER.fullmatch(key)
    return number[1] if number else key


def _plain(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Pd" or letter == "\u2212":
        return "-"
    return "" if category == "Cf" or letter.isspace() else letter


def nobodys_cases(patient_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Cases whose patient cannot be told by what is written, and why, as the end of "the patient ...".

    Args:
        patient_of: patient of each case.
    """
    shared = Counter(patient_of.values())
    found = []
    for case_id, patient in patient_of.items():
        key = "".join(unicodedata.normalize("NFKC", patient).casefold().split())
        if _SHEET_ERROR.fullmatch(key):
            found.append((case_id, f"is '{patient}', an error of a spreadsheet. Correct the cell"))
        elif _SHORTENED.fullmatch(patient):
            found.append((case_id, f"is '{patient}': a spreadsheet has cut its digits off. Format the column as text"))
        elif _LOST_LETTER in patient:
            found.append((case_id, f"is '{patient}', of which letters were lost. Save the table as CSV (UTF-8)"))
        elif key in _NOBODY and shared[patient] > 1:
            found.append(
                (
                    case_id,
                    f"is '{patient}', as in {shared[patient] - 1} other cases, which would be taken for one person. "
                    f"Leave it empty where it is not known: each case is a patient of its own then",
                )
            )
    return found


def look_alikes(names: Iterable[str], key: Callable[[str], str] = same_person_key) -> list[tuple[str, ...]]:
    """Spellings that may mean one person (or what `key` tells apart), each group in the order in which they came."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        groups.setdefault(key(name), {})[name] = None
    return [tuple(group) for group in groups.values() if len(group) > 1]
