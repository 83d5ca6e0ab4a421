"""Which column of a table means what, and which words of a column mean which class."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from dsmt_nnunet.csv_table import CsvTable
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
)
"""What a column can be, apart from holding labels."""

_MAPPING_KEYS = ("columns", "primary_task", "tasks")
_TASK_KEYS = ("column", "classes", "unknown", "ordered", "question", "votes")
_QUESTION_KEYS = ("negative", "positive", "from", "undecided")
_NOT_READ = ("", "null", "~")
_WHOLE_OR_DECIMAL = re.compile(r"[+-]?(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?")


def normalise_term(text: str) -> str:
    """The form in which terms are compared: no surrounding blanks, lower case, 1.0 and 01 as 1, digit by digit."""
    term = " ".join(text.split()).casefold()
    number = _WHOLE_OR_DECIMAL.fullmatch(term)
    if number is None:
        return term
    digits = f"{number['whole'].lstrip('0') or '0'}.{(number['part'] or '').rstrip('0')}".rstrip(".")
    return f"-{digits}" if term.startswith("-") and digits != "0" else digits


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
        table: dict[str, str | None] = {}
        for class_name, terms in [*self.classes.items(), (None, self.unknown)]:
            for term in map(normalise_term, terms):
                if table.setdefault(term, class_name) != class_name:
                    raise ValueError(
                        f"Task '{self.name}': '{term}' stands for {_class_text(table[term])} and for "
                        f"{_class_text(class_name)}. A term has one meaning (upper and lower case are the same)."
                    )
        table.setdefault("", None)
        object.__setattr__(self, "_class_of_term", table)
        self._make_task()

    def label(self, text: str) -> str | None:
        """Class name for a cell, None when it is not known.

        Raises:
            ValueError: the term is in neither a class nor the unknown ones.
        """
        term = normalise_term(text)
        if term not in self._class_of_term:
            allowed = "; ".join(f"{name}: {', '.join(terms)}" for name, terms in self.classes.items())
            unknown = ", ".join(term or "empty" for term, name in self._class_of_term.items() if name is None)
            raise ValueError(
                f"column '{self.column}': '{text}' is not a known term of {self.name}. Known are {allowed}; "
                f"not known: {unknown}. Correct the cell, or add the term in a mapping (--mapping)."
            )
        return self._class_of_term[term]

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
class TableMapping:
    """What a table's columns mean.

    Attributes:
        tasks: the tasks, in order.
        primary_task: name of the primary one.
        columns: role (one of `COLUMN_ROLES`) -> column; None: do not read it, even if a column has that name. A role
            that is not named here is read from the column of its own name where the table has one.
    """

    tasks: tuple[TaskMapping, ...]
    primary_task: str
    columns: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown_roles = [role for role in self.columns if role not in COLUMN_ROLES]
        if unknown_roles:
            raise ValueError(f"columns: {unknown_roles} are not allowed; allowed are {list(COLUMN_ROLES)}.")
        ClassificationSchema(tuple(mapping.task for mapping in self.tasks), self.primary_task)

    def restrict_to(self, table_columns: Sequence[str]) -> TableMapping:
        """This mapping without what the table may lack: columns of votes, and the columns of optional tasks."""
        tasks = tuple(
            replace(task, votes=tuple(column for column in task.votes if column in table_columns))
            for task in self.tasks
            if not task.optional or task.column in table_columns
        )
        return TableMapping(tasks, self.primary_task, self.columns)

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
        return table.spelt([name for name in (*named, *of_tasks) if name is not None])

    def column_of(self, role: str, table_columns: Sequence[str]) -> str | None:
        """Column of a role, None when the table has none for it."""
        column = self.columns.get(role, role)
        return column if column in table_columns else None

    def missing_columns(self, table_columns: Sequence[str]) -> list[str]:
        """One sentence for each column that this mapping names and the table lacks."""
        named = [(f"{role} (column '{name}')", name) for role, name in self.columns.items() if name is not None]
        named += [(f"task {task.name} (column '{task.column}')", task.column) for task in self.tasks]
        return [
            f"the column for {what} is missing; the table has {list(table_columns)}."
            for what, name in named
            if name not in table_columns
        ]

    @property
    def schema(self) -> ClassificationSchema:
        return ClassificationSchema(tuple(mapping.task for mapping in self.tasks), self.primary_task)


_UNKNOWN_TERMS = ("na", "n/a", "nan", "none", "null", "unknown", "not known", "?")
_SIGN_CLASSES = {
    "absent": ("no", "0", "absent", "false", "n", "-", "negative"),
    "present": ("yes", "1", "present", "true", "y", "+", "positive"),
}
_PATHOLOGY_CLASSES = {
    "non-invasive": (
        "AAH",
        "atypical adenomatous hyperplasia",
        "AIS",
        "adenocarcinoma in situ",
        "MIA",
        "minimally invasive adenocarcinoma",
        "pre-invasive",
        "preinvasive",
        "non-invasive",
        "noninvasive",
        "non invasive",
    ),
    "invasive": ("IAC", "IA", "invasive adenocarcinoma", "invasive"),
}

DEFAULT_MAPPING = TableMapping(
    tasks=(
        TaskMapping("invasiveness", "pathology", _PATHOLOGY_CLASSES, _UNKNOWN_TERMS),
        TaskMapping("bubble_lucency", "bubble_lucency", _SIGN_CLASSES, _UNKNOWN_TERMS, optional=True),
        TaskMapping("pleural_retraction", "pleural_retraction", _SIGN_CLASSES, _UNKNOWN_TERMS, optional=True),
    ),
    primary_task="invasiveness",
)
"""What a table means without a mapping file."""


def read_mapping(path: str | Path) -> TableMapping:
    """Reads a mapping file (YAML); docs/data-format.md describes it.

    Every scalar is taken as the text that stands there: `yes`, `no` and `1` need no quotes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, or it breaks a rule of the format.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_TextLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable YAML file (UTF-8): {error}") from error
    try:
        return parse_mapping(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_mapping(content: object) -> TableMapping:
    """Builds a mapping from the content of a mapping file, in which every scalar is a string.

    Raises:
        ValueError: a key is not known or missing, or a value has the wrong form.
    """
    block = _mapping(content, "the file", _MAPPING_KEYS, required=("primary_task", "tasks"))
    columns = _mapping(block.get("columns", {}), "columns", COLUMN_ROLES)
    tasks = _mapping(block["tasks"], "tasks")
    if not tasks:
        raise ValueError("tasks: at least one task is needed.")
    return TableMapping(
        tasks=tuple(_parse_task(name, spec) for name, spec in tasks.items()),
        primary_task=_text(block["primary_task"], "primary_task"),
        columns={role: _column_name(name, f"columns: {role}") for role, name in columns.items()},
    )


def _parse_task(name: str, spec: object) -> TaskMapping:
    where = f"tasks: {name}"
    block = _mapping(spec, where, _TASK_KEYS, required=("classes",))
    classes = _mapping(block["classes"], f"{where}: classes")
    question = block.get("question")
    return TaskMapping(
        name=name,
        ordered=_flag(block.get("ordered", "false"), f"{where}: ordered"),
        question=None if question is None else _parse_question(question, f"{where}: question"),
        votes=_terms(block.get("votes", []), f"{where}: votes"),
        column=_text(block.get("column", name), f"{where}: column"),
        classes={key: _terms(terms, f"{where}: classes: {key}") for key, terms in classes.items()},
        unknown=_terms(block.get("unknown", []), f"{where}: unknown"),
    )


def _parse_question(value: object, where: str) -> Question:
    block = _mapping(value, where, _QUESTION_KEYS, required=("negative", "positive", "from"))
    return Question(
        negative=_text(block["negative"], f"{where}: negative"),
        positive=_text(block["positive"], f"{where}: positive"),
        positive_from=_text(block["from"], f"{where}: from"),
        undecided=_terms(block.get("undecided", []), f"{where}: undecided"),
    )


def _flag(value: object, where: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"{where}: must be true or false, got {value!r}.")
    return bool(value == "true")


def _mapping(value: object, where: str, allowed: Sequence[str] = (), required: Sequence[str] = ()) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be a mapping (key: value), got {value!r}.")
    unknown = [key for key in value if allowed and key not in allowed]
    if unknown:
        raise ValueError(f"{where}: keys {unknown} are not allowed; allowed are {list(allowed)}.")
    missing = [key for key in required if key not in value]
    if missing:
        raise ValueError(f"{where}: keys {missing} are missing.")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: must be one word or text, got {value!r}.")
    return value.strip()


def _column_name(value: object, where: str) -> str | None:
    if isinstance(value, str) and value.strip() in _NOT_READ:
        return None
    return _text(value, where)


def _terms(value: object, where: str) -> tuple[str, ...]:
    terms = value if isinstance(value, list) else [value]
    if not all(isinstance(term, str) for term in terms):
        raise ValueError(f"{where}: must be a term or a list of terms, got {value!r}.")
    return tuple(terms)


def _class_text(class_name: str | None) -> str:
    return "'not known'" if class_name is None else f"class '{class_name}'"


class _TextLoader(yaml.BaseLoader):
    """Leaves every scalar as text and refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [key.value for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"keys {repeated} stand more than once in one mapping", node.start_mark
            )
        return super().construct_mapping(node, deep)
