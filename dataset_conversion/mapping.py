"""Which column of a table means what, and which words of a column mean which class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dsmt_nnunet.covariates import Covariate, CovariateValue
from dsmt_nnunet.csv_table import CsvTable, parse_number
from dsmt_nnunet.dataset_conversion.deidentification import tells_who
from dsmt_nnunet.dataset_conversion.terms import DICOM_ROLES, GRADES_OR_INVASIVE, INVASIVENESS, NOT_KNOWN, SIGN
from dsmt_nnunet.nodules import split_votes
from dsmt_nnunet.tasks import ClassificationSchema, Question, Task

COLUMN_ROLES = (
    "case_id",
    "patient_id",
    "nodule_id",
    "image",
    "mask",
    "mask_label",
    "x_mm",
    "y_mm",
    "z_mm",
    "diameter_mm",
    "split",
    *DICOM_ROLES,
)
"""What a column can be, apart from holding labels."""
IDENTIFYING_ROLES = ("case_id", "patient_id", "nodule_id", "image", "mask", "mask_label", "split", *DICOM_ROLES)
"""Roles of columns that say which case it is, from which nothing is to be learnt."""

_WHOLE_OR_DECIMAL = re.compile(r"[+-]?(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?")


def normalise_term(text: str) -> str:
    """The form in which terms are compared: no surrounding blanks, lower case, full-width letters as plain ones, 1.0
    and 01 as 1, digit by digit."""
    term = " ".join(unicodedata.normalize("NFKC", text).split()).casefold()
    number = _WHOLE_OR_DECIMAL.fullmatch(term)
    if number is None:
        return term
    digits = f"{number['whole'].lstrip('0') or '0'}.{(number['part'] or '').rstrip('0')}".rstrip(".")
    return f"-{digits}" if term.startswith("-") and digits != "0" else digits


def meanings(what: str, classes: Mapping[str, Sequence[str]], unknown: Sequence[str] = ()) -> dict[str, str | None]:
    """Normalised term -> what it means, None for "not known"; an empty cell means that unless a class claims it.

    Args:
        what: whose terms they are, for the error.
        classes: class -> its terms.
        unknown: terms that mean "not known".

    Raises:
        ValueError: a term has two meanings.
    """
    table: dict[str, str | None] = {}
    for class_name, terms in [*classes.items(), (None, unknown)]:
        for term in map(normalise_term, terms):
            if table.setdefault(term, class_name) != class_name:
                raise ValueError(
                    f"{what}: '{term}' stands for {_class_text(table[term])} and for {_class_text(class_name)}. "
                    f"A term has one meaning (upper and lower case are the same)."
                )
    table.setdefault("", None)
    return table


def _class_text(class_name: str | None) -> str:
    return "'not known'" if class_name is None else f"class '{class_name}'"


def _meaning(
    text: str, table: Mapping[str, str | None], classes: Mapping[str, Sequence[str]], column: str, name: str
) -> str | None:
    term = normalise_term(text)
    if term not in table:
        allowed = "; ".join(f"{own}: {', '.join(terms)}" for own, terms in classes.items())
        unknown = ", ".join(term or "empty" for term, own in table.items() if own is None)
        raise ValueError(
            f"column '{column}': '{text}' is not a known term of {name}. Known are {allowed}; "
            f"not known: {unknown}. Correct the cell, or add the term in a mapping (--mapping)."
        )
    return table[term]


@dataclass(frozen=True)
class TaskMapping:
    """How the labels of one task are read from a column.

    Attributes:
        name: name of the task.
        column: column of the table.
        classes: class name -> the terms that mean it. The order of the classes is the order of the task.
        unknown: terms that mean "not known"; an empty cell does in any case, unless a class claims it.
        optional: leave the task out when the table lacks its column, instead of refusing the table.
        ordered: whether the classes are grades, the lowest first.
        question: what the grades are asked, see `Question`.
        votes: columns with the single readers' votes, in the terms of the classes; a cell may hold several. Where the
            table lacks them, the label stands for them.
    """

    name: str
    column: str
    classes: Mapping[str, Sequence[str]]
    unknown: Sequence[str] = ()
    optional: bool = False
    ordered: bool = False
    question: Question | None = None
    votes: Sequence[str] = ()
    _class_of_term: Mapping[str, str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_class_of_term", meanings(f"Task '{self.name}'", self.classes, self.unknown))
        self._make_task()

    def label(self, text: str) -> str | None:
        """Class name for a cell, None when it is not known.

        Raises:
            ValueError: the term is in neither a class nor the unknown ones.
        """
        return _meaning(text, self._class_of_term, self.classes, self.column, self.name)

    @property
    def task(self) -> Task:
        return self._make_task()

    def _make_task(self) -> Task:
        return Task(self.name, tuple(self.classes), self.ordered, self.question)

    def vote(self, text: str) -> tuple[str, ...]:
        """Classes of the votes in a cell; votes that mean "not known" are left out.

        Raises:
            ValueError: a term is in neither a class nor the unknown ones.
        """
        term = normalise_term(text)
        terms = (text,) if term in self._class_of_term else split_votes(text)
        return tuple(label for label in map(self.label, terms) if label is not None)


@dataclass(frozen=True)
class CovariateMapping:
    """How a clinical covariate is read from a column.

    Attributes:
        name: name of the covariate.
        column: column of the table.
        unit: of a number; "" for none.
        categories: category -> the terms that mean it; empty for a number.
        unknown: terms that mean "not known"; an empty cell does in any case.
    """

    name: str
    column: str
    unit: str = ""
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    _category_of_term: Mapping[str, str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if tells_who(self.column):
            raise ValueError(
                f"Covariate '{self.name}': the column '{self.column}' tells who a patient is, which no model may learn."
            )
        what = f"Covariate '{self.name}'"
        object.__setattr__(self, "_category_of_term", meanings(what, self.categories, self.unknown))
        self._make_covariate()

    @property
    def covariate(self) -> Covariate:
        return self._make_covariate()

    def _make_covariate(self) -> Covariate:
        return Covariate(self.name, self.unit, tuple(self.categories))

    def value(self, text: str) -> CovariateValue:
        """A number or a category for a cell, None when it is not known.

        Raises:
            ValueError: not a number, or a term of no category.
        """
        if self.categories:
            return _meaning(text, self._category_of_term, self.categories, self.column, self.name)
        if normalise_term(text) in self._category_of_term:
            return None
        what = f"column '{self.column}': {self.name}" + (f" in {self.unit}" if self.unit else "")
        return parse_number(text, what)


@dataclass(frozen=True)
class TableMapping:
    """What a table's columns mean.

    Attributes:
        tasks: the tasks, in order.
        primary_task: name of the primary one.
        columns: role (one of `COLUMN_ROLES`) -> column; None: do not read it, even if a column has that name. A role
            that is not named here is read from the column of its own name where the table has one.
        covariates: what is known beside the image, see `CovariateMapping`.
    """

    tasks: tuple[TaskMapping, ...]
    primary_task: str
    columns: Mapping[str, str | None] = field(default_factory=dict)
    covariates: tuple[CovariateMapping, ...] = ()

    def __post_init__(self) -> None:
        unknown_roles = [role for role in self.columns if role not in COLUMN_ROLES]
        if unknown_roles:
            raise ValueError(f"columns: {unknown_roles} are not allowed; allowed are {list(COLUMN_ROLES)}.")
        answers = {column for task in self.tasks for column in (task.column, *task.votes)}
        files_and_names = {self.columns.get(role, role) for role in IDENTIFYING_ROLES}
        for covariate in self.covariates:
            if covariate.column in answers | files_and_names:
                what = "holds what is asked for" if covariate.column in answers else "names the case or its files"
                raise ValueError(
                    f"Covariate '{covariate.name}': the column '{covariate.column}' {what}. A covariate is what is "
                    f"known beside the image and before the answer."
                )
        self.schema  # noqa: B018  raises where the names clash

    def restrict_to(self, table_columns: Sequence[str]) -> TableMapping:
        """This mapping without what the table may lack: columns of votes, and the columns of optional tasks."""
        tasks = tuple(
            replace(task, votes=tuple(column for column in task.votes if column in table_columns))
            for task in self.tasks
            if not task.optional or task.column in table_columns
        )
        return replace(self, tasks=tasks)

    def missing_votes(self, table_columns: Sequence[str]) -> list[str]:
        """Columns of votes that the table lacks, so that the label stands for them."""
        return [column for task in self.tasks for column in task.votes if column not in table_columns]

    def spelt(self, table: CsvTable) -> CsvTable:
        """The table with its columns as this mapping spells them; letter case and blanks do not count.

        Raises:
            ValueError: two columns of the table are one.
        """
        named = [self.columns.get(role, role) for role in COLUMN_ROLES]
        of_tasks = [column for task in self.tasks for column in (task.column, *task.votes)]
        of_covariates = [covariate.column for covariate in self.covariates]
        return table.spelt([name for name in (*named, *of_tasks, *of_covariates) if name is not None])

    def column_of(self, role: str, table_columns: Sequence[str]) -> str | None:
        """Column of a role, None when the table has none for it."""
        column = self.columns.get(role, role)
        return column if column in table_columns else None

    def missing_columns(self, table_columns: Sequence[str]) -> list[str]:
        """One sentence for each column that this mapping names and the table lacks."""
        named = [(f"{role} (column '{name}')", name) for role, name in self.columns.items() if name is not None]
        named += [(f"task {task.name} (column '{task.column}')", task.column) for task in self.tasks]
        named += [(f"covariate {own.name} (column '{own.column}')", own.column) for own in self.covariates]
        return [
            f"the column for {what} is missing; the table has {list(table_columns)}."
            for what, name in named
            if name not in table_columns
        ]

    @property
    def schema(self) -> ClassificationSchema:
        return ClassificationSchema(
            tuple(mapping.task for mapping in self.tasks),
            self.primary_task,
            tuple(mapping.covariate for mapping in self.covariates),
        )


_SIGNS = (
    TaskMapping("bubble_lucency", "bubble_lucency", SIGN, NOT_KNOWN, optional=True),
    TaskMapping("pleural_retraction", "pleural_retraction", SIGN, NOT_KNOWN, optional=True),
)
BY_GRADES = Question("non-invasive", "invasive", "IAC")
"""What the grades of adenocarcinoma are asked."""
DEFAULT_MAPPING = TableMapping(
    (TaskMapping("invasiveness", "pathology", INVASIVENESS, NOT_KNOWN), *_SIGNS), primary_task="invasiveness"
)
"""What a table means without a mapping file."""
GRADED_MAPPING = TableMapping(
    (
        TaskMapping("invasiveness", "pathology", GRADES_OR_INVASIVE, NOT_KNOWN, ordered=True, question=BY_GRADES),
        *_SIGNS,
    ),
    primary_task="invasiveness",
)
"""The same with the grades of adenocarcinoma kept, AAH < AIS < MIA < IAC."""
