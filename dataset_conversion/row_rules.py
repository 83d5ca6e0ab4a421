"""What the rows of a case, and the cases of a table, must agree on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from dsmt_nnunet.dataset_conversion.case_rows import CaseRows, NoduleRow
from dsmt_nnunet.dataset_conversion.problems import Problem
from dsmt_nnunet.identifiers import look_alikes, nobodys_cases
from dsmt_nnunet.nodules import NONE_ID

LookAlike = Literal["same", "different"]
"""What patients are whose identifiers differ in spelling only (A01 and a01, 1 and 01 and 1.0)."""


def check_cases(cases: Sequence[CaseRows], bad_lines: set[int | None], answer: LookAlike | None) -> list[Problem]:
    """Everything in which rows do not fit together.

    Args:
        cases: all cases of the table.
        bad_lines: of cells that could not be read; that a nodule cannot be told apart is not said of them.
        answer: whether patients whose identifiers differ in spelling only are one; None to ask.
    """
    problems = []
    rows = [row for case in cases for row in case.rows]
    for case in cases:
        problems += _check_case(case)
        problems += [problem for problem in _check_separable(case) if problem.line not in bad_lines]
    nobodys = dict(nobodys_cases({case.case_id: case.rows[0].patient_id for case in cases}))
    problems += [
        Problem(f"the patient {nobodys[case.case_id]}.", case.rows[0].line, case.case_id)
        for case in cases
        if case.case_id in nobodys
    ]
    letter_case = _check_letter_case(cases)
    problems += letter_case
    problems += _check_patients(rows)
    if not letter_case:  # the same question again where patients are named after cases
        problems += _check_look_alikes(rows, answer)
    return problems


def _check_case(case: CaseRows) -> list[Problem]:
    problems = []
    first_line: dict[str, int] = {}
    for row in case.rows:
        earlier = first_line.setdefault(row.nodule_id, row.line)
        if earlier != row.line:
            problems.append(
                Problem(
                    f"nodule_id '{row.nodule_id}' of this case stands in line {earlier} already; it must be unique "
                    f"within a case. Remove the duplicate, or give the nodule its own nodule_id.",
                    row.line,
                    case.case_id,
                )
            )
    if len(case.rows) > 1:
        message = (
            f"nodule_id '{NONE_ID}' says that the case holds no nodule, but it has {len(case.rows)} rows. Keep that "
            f"row alone, or remove it."
        )
        problems += [Problem(message, row.line, case.case_id) for row in case.rows if row.is_empty]
    first = case.rows[0]
    for row in case.rows[1:]:
        for what in ("patient_id", "split", "image"):
            here, there = getattr(row, what), getattr(first, what)
            if here != there:
                problems.append(
                    Problem(
                        f"{what} is '{here}' here and '{there}' in line {first.line}. A case is one scan of one "
                        f"patient: use one {what}, or different case_ids.",
                        row.line,
                        case.case_id,
                    )
                )
    return problems


def _check_separable(case: CaseRows) -> list[Problem]:
    """Each of several nodules in a case must say which part of which mask it is."""
    problems = []
    rows_of_mask = Counter(row.mask for row in case.rows)
    chosen: dict[tuple[str, int], int] = {}
    for row in case.rows:
        if row.mask_label is not None:
            earlier = chosen.setdefault((row.mask, row.mask_label), row.line)
            if earlier != row.line:
                message = f"mask_label {row.mask_label} of mask '{row.mask}' belongs to the nodule of line {earlier}."
                problems.append(Problem(f"{message} Give every nodule its own value.", row.line, case.case_id))
        elif row.position_mm is None and rows_of_mask[row.mask] > 1:
            problems.append(
                Problem(
                    f"{rows_of_mask[row.mask]} nodules share the mask '{row.mask}', and nothing says which part of it "
                    f"is this one. Add a column mask_label (the nodule's value in the mask), a column mask (a file for "
                    f"each nodule), or x_mm, y_mm, z_mm (a point in the nodule, LPS).",
                    row.line,
                    case.case_id,
                )
            )
    return problems


def _check_letter_case(cases: Iterable[CaseRows]) -> list[Problem]:
    first: dict[str, CaseRows] = {}
    problems = []
    for case in cases:
        other = first.setdefault(case.case_id.lower(), case)
        if other is not case:
            problems.append(
                Problem(
                    f"case_id differs from '{other.case_id}' (line {other.rows[0].line}) in upper and lower case only; "
                    f"some file systems take them for one file. Use one spelling, or different names.",
                    case.rows[0].line,
                    case.case_id,
                )
            )
    return problems


def _check_look_alikes(rows: Sequence[NoduleRow], answer: LookAlike | None) -> list[Problem]:
    """Spellings that may mean one person: never in both splits, and within one only as the user says."""
    problems = []
    for spellings in look_alikes(row.patient_id for row in rows):
        of = [row for row in rows if row.patient_id in spellings]
        named = " and ".join(f"'{spelling}'" for spelling in spellings)
        if len({row.split for row in of}) > 1:
            message = f"patients {named} look like one person and are in train and in test. Rename them."
        elif answer is None:
            message = (
                f"patients {named} look like one person. Say which it is: --look-alike-patients same joins them, "
                f"--look-alike-patients different keeps them apart."
            )
        else:
            continue
        problems.append(Problem(message, of[-1].line, of[-1].case_id))
    return problems


def _check_patients(rows: Iterable[NoduleRow]) -> list[Problem]:
    first: dict[str, NoduleRow] = {}
    problems = []
    for row in rows:
        other = first.setdefault(row.patient_id, row)
        if other.split != row.split and other.case_id != row.case_id:
            problems.append(
                Problem(
                    f"patient '{row.patient_id}' is in {row.split} here and in {other.split} in line {other.line} "
                    f"(case '{other.case_id}'). All scans of a patient belong to one split, or the test is not "
                    f"independent.",
                    row.line,
                    row.case_id,
                )
            )
    return problems
