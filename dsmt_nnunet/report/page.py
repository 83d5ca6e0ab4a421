"""From evaluations to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, __version__
from dsmt_nnunet.files import write_text
from dsmt_nnunet.report import nodule_picture
from dsmt_nnunet.report.cards import NO_IMAGES, Card, cards_of, with_pictures, with_places, with_reasons
from dsmt_nnunet.report.checklist import checklist_tables, write_checklist_files
from dsmt_nnunet.report.explanation_picture import explanation_data
from dsmt_nnunet.report.figure_style import FigureFolder
from dsmt_nnunet.report.folder import EvaluationFolder, read_evaluation
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.listing import nodule_listing
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.report.panel import key_of
from dsmt_nnunet.report.section import Section, build_section
from dsmt_nnunet.report.tables import Table
from dsmt_nnunet.report.windows import WINDOWS

DEFAULT_TITLE = "Evaluation report"
DEFAULT_MAX_CARDS = 100


@dataclass(frozen=True)
class ReportOptions:
    """What a page is made of, beside the evaluations.

    Attributes:
        title: of the page.
        folders: of images and masks.
        max_cards: cards in the whole page; the largest errors of each section are kept.
        checklist: adds the flow of cases, the cohort, CLAIM and TRIPOD+AI, and writes them as CSV beside the page.
    """

    title: str = DEFAULT_TITLE
    folders: ImageFolders = field(default_factory=ImageFolders)
    max_cards: int = DEFAULT_MAX_CARDS
    checklist: bool = False

    def __post_init__(self) -> None:
        if self.max_cards < 0:
            raise ValueError(f"--max-cards must not be negative, got {self.max_cards}.")


def write_report(
    evaluations: Sequence[str | Path],
    out: str | Path,
    options: ReportOptions | None = None,
    progress: Callable[[], Any] = lambda: None,
) -> Path:
    """Writes the page, and its figures as SVG and PDF into `<name of the page>_figures` beside it.

    Args:
        evaluations: folders written by `dsmt evaluate`, a section each.
        out: the page.
        options: title, images, number of cards.
        progress: called after each card that was looked up.

    Returns:
        The page.

    Raises:
        FileNotFoundError: a folder holds no metrics.json.
        ValueError: no folder, a page that is a folder or does not end with .html, or a file is damaged or of another
            release.
    """
    options = options or ReportOptions()
    out = Path(out)
    if not evaluations or out.is_dir():
        what = "no evaluation is named" if not evaluations else f"{out} is a folder, and the page is a file"
        raise ValueError(f"A page shows one evaluation or more, but {what}.")
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out} is no name of a page: it ends with .html. Another file there would be replaced.")
    read = [read_evaluation(folder) for folder in evaluations]
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = FigureFolder(out.with_name(f"{out.stem}_figures"))
    sections = []
    for evaluation, key, title in zip(read, _keys(read), _titles(read), strict=True):
        sections.append((evaluation, build_section(evaluation, key, title, figures)))
    finished = _with_cards(sections, options, progress)
    lists = checklist_tables(read, _has_explanations(finished)) if options.checklist else {}
    write_checklist_files(lists, out)
    text = render(finished, options, tuple(lists.values()))
    write_text(out, text)
    return out


def render(sections: Sequence[Section], options: ReportOptions, checklists: Sequence[Table] = ()) -> str:
    """The page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["svg"] = Markup
    script = _asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.from_string(_asset("template.html")).render(
        title=options.title,
        notice=NOT_A_MEDICAL_DEVICE,
        version=__version__,
        dataset_notes=options.folders.dataset_notes(),
        sections=sections,
        has_cards=any(section.cards for section in sections),
        no_images=NO_IMAGES,
        checklists=checklists,
        has_explanations=_has_explanations(sections),
        has_images=bool(options.folders.images),
        stack_of=stack_data,
        card_data=card_data,
        readable=readable,
        geometry=nodule_picture,
        windows=WINDOWS,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_digest=digest,
    )


def _has_explanations(sections: Sequence[Section]) -> bool:
    return any(card.explanation for section in sections for card in section.cards)


def stack_data(card: Card) -> dict[str, Any]:
    """What the dialog of a card draws."""
    picture = card.picture
    if picture is None:
        return {}
    return {
        "stack": picture.stack_uri,
        "contours": picture.stack_contours,
        "step": round(picture.slice_step_mm, 4),
        "field": round(picture.field_mm, 3),
        "slices": nodule_picture.STACK_SLICES,
        "pixels": nodule_picture.STACK_PIXELS,
        "columns": nodule_picture.STACK_COLUMNS,
        "places": card.stack_places,
        **({"explanation": explanation_data(card.explanation)} if card.explanation else {}),
    }


def card_data(card: Card) -> dict[str, Any]:
    """What sorting and filtering look at; null stands for what is not known."""

    def number(value: float) -> float | None:
        return round(value, 5) if value == value else None

    return {
        "case": card.case_id,
        "diameter": number(card.diameter_mm),
        "groups": dict(card.groups),
        "tasks": {
            answer.task: {
                "outcome": answer.outcome,
                "error": number(answer.error),
                "probability": number(answer.probability),
                "spread": number(answer.spread),
            }
            for answer in card.answers
        },
    }


def _with_cards(
    sections: Sequence[tuple[EvaluationFolder, Section]], options: ReportOptions, progress: Callable[[], Any]
) -> list[Section]:
    all_cards = [
        with_places(cards_of(evaluation, f"card-{section.key}"), options.folders, evaluation.source)
        for evaluation, section in sections
    ]
    limits = fair_shares([len(cards) for cards in all_cards], options.max_cards)
    result = []
    for (evaluation, section), cards, limit in zip(sections, all_cards, limits, strict=True):
        reasoned = with_reasons(cards[:limit], options.folders, evaluation.source)
        chosen = with_pictures(reasoned, options.folders, evaluation.source, progress)
        listed = {card.key: card for card in (*cards, *chosen)}
        columns: dict[str, list[str]] = {}
        for card in chosen:
            for column, level in card.groups.items():
                levels = columns.setdefault(column, [])
                if level not in levels:
                    levels.append(level)
        groups = {column: tuple(sorted(levels)) for column, levels in columns.items()}
        result.append(
            replace(
                section,
                cards=tuple(chosen),
                cards_left_out=len(cards) - len(chosen),
                group_columns=groups,
                listing=nodule_listing(list(listed.values())),
            )
        )
    return result


def fair_shares(wanted: Sequence[int], total: int) -> list[int]:
    """How many of `total` each gets: all it wants while that is no more than an equal share of what is left."""
    shares = [0] * len(wanted)
    left = total
    for place, index in enumerate(sorted(range(len(wanted)), key=lambda item: wanted[item])):
        shares[index] = min(wanted[index], left // (len(wanted) - place))
        left -= shares[index]
    return shares


def _titles(evaluations: Sequence[EvaluationFolder]) -> list[str]:
    """Names of the folders, with their parents' where two are alike."""
    names = [evaluation.name for evaluation in evaluations]
    return [
        name if names.count(name) == 1 else f"{evaluation.path.resolve().parent.name}/{name}"
        for name, evaluation in zip(names, evaluations, strict=True)
    ]


def _keys(evaluations: Sequence[EvaluationFolder]) -> list[str]:
    return [f"{number}-{key_of(evaluation.name)}" for number, evaluation in enumerate(evaluations, start=1)]


def _asset(name: str) -> str:
    return files("dsmt_nnunet.report").joinpath("assets", name).read_text(encoding="utf-8")
