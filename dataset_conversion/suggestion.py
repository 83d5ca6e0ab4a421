"""The mapping file that a table seems to need, with a count for every term; a person reads it and decides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dsmt_nnunet.csv_table import CsvTable, parse_number
from dsmt_nnunet.dataset_conversion.deidentification import tells_who
from dsmt_nnunet.dataset_conversion.mapping import BY_GRADES, meanings, normalise_term
from dsmt_nnunet.dataset_conversion.terms import (
    CATEGORY_HEADERS,
    GRADES_OR_INVASIVE,
    INVASIVENESS,
    NODULE_HEADER,
    NOT_KNOWN,
    NUMBER_HEADERS,
    ROLE_HEADERS,
    SIGN,
    SIGN_HEADERS,
    STRUCTURE_ROLE,
    UNIT_IN_HEADER,
)

_ENOUGH = 0.5
"""So large a share of a column's cells must be terms that are known."""
_SHOWN = 6
_CELLS = ", which holds "
"""Between the name of a column and examples of its cells."""
_SIGNS_IN_HEADERS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Suggestion:
    """What `suggest` found.

    Attributes:
        text: the mapping file (YAML).
        lines: the same in a few words, a line a column.
        unsorted: terms that are in no class and not among those that mean "not known".
    """

    text: str
    lines: tuple[str, ...]
    unsorted: tuple[str, ...]


@dataclass(frozen=True)
class _Sorted:
    """The terms of a column.

    Attributes:
        column: its name.
        classes: class -> term as it is spelt first -> number of rows.
        not_known: the same of terms that mean "not known".
        strange: the same of terms that are neither.
        empty: number of empty cells.
    """

    column: str
    classes: Mapping[str, Mapping[str, int]]
    not_known: Mapping[str, int]
    strange: Mapping[str, int]
    empty: int

    @property
    def share(self) -> float:
        """Of the cells that hold something known, those that are in a class."""
        sorted_ = sum(sum(terms.values()) for terms in self.classes.values())
        return sorted_ / max(1, sorted_ + sum(self.strange.values()))

    @property
    def summary(self) -> str:
        parts = [f"{sum(terms.values())} {name}" for name, terms in self.classes.items()]
        parts += [f"{sum(self.not_known.values()) + self.empty} not known"]
        return ", ".join([*parts, *(f"{count} '{term}' (?)" for term, count in self.strange.items())])


def suggest(table: CsvTable, grades: bool = False) -> Suggestion:
    """Looks for the pathology, signs, covariates, roles and identifiers of a table.

    Args:
        table: as read.
        grades: whether the grades of adenocarcinoma are kept, instead of invasive or not.

    Raises:
        ValueError: no column holds anything to classify; each column is named with what it holds.
    """
    roles = _roles(table)
    left = [name for name in table.columns if name not in roles.values() and not tells_who(name)]
    pathology = _pathology(table, left, grades)
    if pathology is not None:
        left.remove(pathology.column)
    signs = dict(_matched(table, left, {name: (header, SIGN) for name, header in SIGN_HEADERS.items()}))
    categories = {
        name: replace(own, classes={category: terms for category, terms in own.classes.items() if terms})
        for name, own in _matched(table, left, CATEGORY_HEADERS)
        if sum(map(bool, own.classes.values())) > 1
    }
    numbers = dict(_numbers(table, left))
    used = {own.column for own in (*signs.values(), *categories.values())} | {name for name, _ in numbers.values()}
    if pathology is None and not signs:
        seen = "\n  ".join(f"{name}: {_examples(table, name)}" for name in table.columns)
        raise ValueError(
            f"{table.path}: no column holds terms of adenocarcinoma or a known sign, so that there is nothing to "
            f"classify. Write a mapping by hand (docs/data-format.md). The columns hold:\n  {seen}"
        )
    tasks = {**({} if pathology is None else {"invasiveness": pathology}), **signs}
    lines = [f"{role}: column '{column}'" for role, column in roles.items()]
    lines += [f"task {name}: column '{own.column}': {own.summary}" for name, own in tasks.items()]
    lines += [f"covariate {name}: column '{own.column}': {own.summary}" for name, own in categories.items()]
    lines += [f"covariate {name}: column '{column}', {unit or 'no unit'}" for name, (column, unit) in numbers.items()]
    lines += [f"left out, it tells who a patient is: column '{name}'" for name in table.columns if tells_who(name)]
    lines += [f"not used: column '{name}'{_CELLS}{_examples(table, name)}" for name in left if name not in used]
    strange = [term for own in (*tasks.values(), *categories.values()) for term in own.strange]
    text = "\n".join(_yaml(table, roles, tasks, categories, numbers, grades and pathology is not None, lines)) + "\n"
    return Suggestion(text, tuple(lines), tuple(strange))


def _header(name: str) -> str:
    return _SIGNS_IN_HEADERS.sub("", UNIT_IN_HEADER.sub("", name)).casefold()


def _roles(table: CsvTable) -> dict[str, str]:
    """Role -> column; a header in cm is no diameter in mm, and beside numbers of nodules stand names of contours."""
    found: dict[str, str] = {}
    for role, pattern in ROLE_HEADERS.items():
        for name in table.columns:
            unit = UNIT_IN_HEADER.search(name)
            fits = re.fullmatch(pattern, _header(name)) and (unit is None or unit["unit"].strip().casefold() == "mm")
            if fits and name not in found.values() and role not in found:
                found[role] = name
    if "nodule_id" in found and STRUCTURE_ROLE not in found:
        free = [name for name in table.columns if name not in found.values()]
        called = next((name for name in free if re.fullmatch(NODULE_HEADER, _header(name))), None)
        found |= {} if called is None else {STRUCTURE_ROLE: called}
    return found


def _sorted(table: CsvTable, column: str, classes: Mapping[str, Sequence[str]]) -> _Sorted:
    table_of = meanings(column, classes, NOT_KNOWN)
    spelling: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in table.rows:
        term = normalise_term(row.get(column))
        spelling.setdefault(term, row.get(column))
        counts[term] += 1
    groups: dict[str | None, dict[str, int]] = {name: {} for name in (*classes, None)}
    strange: dict[str, int] = {}
    for term, count in counts.most_common():
        if term:
            (groups[table_of[term]] if term in table_of else strange)[spelling[term]] = count
    in_classes = {name: terms for name, terms in groups.items() if name is not None}
    return _Sorted(column, in_classes, groups[None], strange, counts[""])


def _pathology(table: CsvTable, columns: Sequence[str], grades: bool) -> _Sorted | None:
    """The column of which most cells are terms of adenocarcinoma."""
    classes = GRADES_OR_INVASIVE if grades else INVASIVENESS
    candidates = [_sorted(table, name, classes) for name in columns]
    best = max(candidates, key=lambda own: own.share, default=None)
    return best if best is not None and best.share >= _ENOUGH else None


def _matched(
    table: CsvTable, columns: Sequence[str], known: Mapping[str, tuple[str, Mapping[str, Sequence[str]]]]
) -> Iterator[tuple[str, _Sorted]]:
    """Columns whose header and whose terms are known."""
    for name, (pattern, classes) in known.items():
        for column in columns:
            if re.fullmatch(pattern, _header(column)):
                own = _sorted(table, column, classes)
                if own.share >= _ENOUGH:
                    yield name, own
                    break


def _numbers(table: CsvTable, columns: Sequence[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Covariate -> column and unit, of columns of which most cells are numbers, and not all the same one."""
    for name, (pattern, usual) in NUMBER_HEADERS.items():
        for column in columns:
            cells = [row.get(column) for row in table.rows if normalise_term(row.get(column)) not in _UNKNOWN]
            numbers = sum(map(_is_number, cells))
            differ = len(set(cells)) > 1  # a single value teaches nothing, and is refused as a covariate
            if re.fullmatch(pattern, _header(column)) and differ and numbers >= _ENOUGH * len(cells):
                unit = UNIT_IN_HEADER.search(column)
                yield name, (column, unit["unit"].strip() if unit else usual)
                break


_UNKNOWN = {"", *map(normalise_term, NOT_KNOWN)}


def _is_number(text: str) -> bool:
    try:
        parse_number(text, "it")
    except ValueError:
        return False
    return True


def _examples(table: CsvTable, column: str) -> str:
    counts = Counter(text for row in table.rows if (text := row.get(column)))
    shown = ", ".join(f"{text} ({count})" for text, count in counts.most_common(_SHOWN))
    more = len(counts) - _SHOWN
    return (shown or "empty") + (f" and {more} others" if more > 0 else "")


def _yaml(
    table: CsvTable,
    roles: Mapping[str, str],
    tasks: Mapping[str, _Sorted],
    categories: Mapping[str, _Sorted],
    numbers: Mapping[str, tuple[str, str]],
    grades: bool,
    lines: Sequence[str],
) -> Iterator[str]:
    yield f"# Suggested for {table.path.name}, {len(table.rows)} rows. Read it, correct it, and convert with --mapping."
    for line in lines:  # of cells only those that are sorted: the others may tell who a patient is
        if line.startswith(("left out", "not used")):
            yield f"# {line.partition(_CELLS)[0]}"
    if roles:
        yield "columns:"
        yield from (f"  {role}: {_quoted(column)}" for role, column in roles.items())
    yield f"primary_task: {next(iter(tasks))}"
    yield "tasks:"
    for name, own in tasks.items():
        yield f"  {name}:"
        yield f"    column: {_quoted(own.column)}"
        if grades and name == "invasiveness":
            question = BY_GRADES
            yield "    ordered: true"
            yield (
                f"    question: {{negative: {question.negative}, positive: {question.positive}, "
                f"from: {question.positive_from}}}"
            )
        yield from _terms("classes", own)
    if categories or numbers:
        yield "covariates:"
    for name, (column, unit) in numbers.items():
        seen = {row.get(column) for row in table.rows if row.get(column) and not _is_number(row.get(column))}
        unknown = ", ".join(_quoted(term) for term in sorted(seen) if normalise_term(term) in _UNKNOWN)
        strange = ", ".join(_quoted(term) for term in sorted(seen) if normalise_term(term) not in _UNKNOWN)
        yield f"  {name}:"
        yield f"    column: {_quoted(column)}"
        yield from [f"    unit: {_quoted(unit)}"] if unit else []
        yield f"    unknown: [{unknown}]"
        yield from [f"    # No numbers; correct the cells, or move them to unknown: {strange}"] if strange else []
    for name, own in categories.items():
        yield f"  {name}:"
        yield f"    column: {_quoted(own.column)}"
        yield from _terms("categories", own)


def _terms(key: str, own: _Sorted) -> Iterator[str]:
    yield f"    {key}:"
    for name, terms in own.classes.items():
        yield f"      {name}:{'' if terms else ' []'}"
        yield from (f"        - {_quoted(term)} # {count} rows" for term, count in terms.items())
    yield f"    unknown:{'' if own.not_known else ' []'} # and {own.empty} empty cells"
    yield from (f"      - {_quoted(term)} # {count} rows" for term, count in own.not_known.items())
    if own.strange:
        yield "    # Not sorted; move each to a class or to unknown:"
        yield from (f"    #   - {_quoted(term)} # {count} rows" for term, count in own.strange.items())


def _quoted(text: str) -> str:
    """As a YAML scalar: JSON's strings are YAML's."""
    return json.dumps(text, ensure_ascii=False)
