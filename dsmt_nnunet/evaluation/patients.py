"""Which column names the patient, and which spellings are one patient: patients are the unit of every evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from dsmt_nnunet.csv_table import same_column_key
from dsmt_nnunet.identifiers import look_alikes, nobodys_cases, same_person_key
from dsmt_nnunet.statistics.named_warnings import ClusteredDataWarning, WarningLog

PATIENT_COLUMN = "patient_id"
"""The column that is taken where it is there and none is named."""
INDEPENDENT = "none"
"""What `--cluster` says to take every case for a patient of its own."""


def column_like(name: str, columns: Sequence[str]) -> str | None:
    """The column that is `name`, but for letter case, blanks, '_' and '-' where none is just so; None without one."""
    alike = (own for own in columns if same_column_key(own) == same_column_key(name))
    return name if name in columns else next(alike, None)


def patient_column(named: str | None, there: Sequence[str]) -> str | None:
    """The column of the patients: the one that is named, or `PATIENT_COLUMN`, however spelt, where the table has it."""
    return named or column_like(PATIENT_COLUMN, there)


def patients(names: Sequence[str], column: str, log: WarningLog) -> tuple[str, ...]:
    """Patient of each case; spellings that mean one person are one patient, which a warning says.

    Raises:
        ValueError: some are named by what names nobody (`unknown`), and would be taken for one person.
    """
    if nobodys := nobodys_cases({str(number): name for number, name in enumerate(names)}):
        name = names[int(nobodys[0][0])]
        raise ValueError(
            f"'{name}' in column '{column}' names nobody, and {len(nobodys)} such cases would be taken for patients. "
            f"Name each, or take every case for a patient of its own (--cluster {INDEPENDENT}; from Python no groups)."
        )
    for group in look_alikes(names):
        spellings = ", ".join(f"'{name}'" for name in group)
        log.add(ClusteredDataWarning, column, f"The spellings {spellings} are taken for one patient.")
    return tuple(same_person_key(name) for name in names)


def warn_of_shared_cases(names: Sequence[str], column: str, log: WarningLog) -> None:
    """Says where cases have several rows, and no column names the patient who is the unit of all of them."""
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        message = (
            f"{len(named)} rows of {len(set(named))} cases ('{column}') are taken as independent, since no column "
            f"names the patient: intervals are too short and p values too small. Name one with --cluster ('{column}' "
            f"at least)."
        )
        log.add(ClusteredDataWarning, "cases", message)


def warn_of_independence(names: Sequence[str], log: WarningLog) -> None:
    """Says where patients have several cases and were not to be the unit."""
    n_patients = len({same_person_key(name) for name in names})
    if n_patients < len(names):
        message = (
            f"{len(names)} cases of {n_patients} patients are taken as independent, as --cluster {INDEPENDENT} asks: "
            f"intervals are too short and p values too small."
        )
        log.add(ClusteredDataWarning, "cases", message)
