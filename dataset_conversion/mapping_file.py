"""The mapping file: YAML that says what the columns of a table mean."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import yaml

from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, CovariateMapping, TableMapping, TaskMapping
from dsmt_nnunet.tasks import Question

_MAPPING_KEYS = ("columns", "primary_task", "tasks", "covariates")
_TASK_KEYS = ("column", "classes", "unknown", "ordered", "question", "votes")
_COVARIATE_KEYS = ("column", "unit", "categories", "unknown")
_QUESTION_KEYS = ("negative", "positive", "from", "undecided")
_NOT_READ = ("", "null", "~")


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
    covariates = _mapping(block.get("covariates", {}), "covariates")
    if not tasks:
        raise ValueError("tasks: at least one task is needed.")
    return TableMapping(
        tasks=tuple(_parse_task(name, spec) for name, spec in tasks.items()),
        primary_task=_text(block["primary_task"], "primary_task"),
        columns={role: _column_name(name, f"columns: {role}") for role, name in columns.items()},
        covariates=tuple(_parse_covariate(name, spec) for name, spec in covariates.items()),
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


def _parse_covariate(name: str, spec: object) -> CovariateMapping:
    where = f"covariates: {name}"
    block = _mapping({} if spec in _NOT_READ else spec, where, _COVARIATE_KEYS)
    categories = _mapping(block.get("categories", {}), f"{where}: categories")
    return CovariateMapping(
        name=name,
        column=_text(block.get("column", name), f"{where}: column"),
        unit=_text(block["unit"], f"{where}: unit") if "unit" in block else "",
        categories={key: _terms(terms, f"{where}: categories: {key}") for key, terms in categories.items()},
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
