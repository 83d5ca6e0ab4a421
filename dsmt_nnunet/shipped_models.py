"""Models that come with the package: the zip files of `dsmt model export` in the folder `weights`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import dsmt_nnunet
from dsmt_nnunet import NOT_A_MEDICAL_DEVICE

FOLDER = Path(dsmt_nnunet.__file__).parent / "weights"
CARD_NAME = "model_card.md"
DATA_TITLE, PERFORMANCE_TITLE, LIMITS_TITLE = "Data it learnt from", "How well it does", "Where it ends"
"""Sections of a card that a user is told."""


def shipped_models() -> dict[str, Path]:
    """Name -> zip file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.zip"))}


def model_place(name_or_path: str | Path) -> Path:
    """The file or folder of a model that is named by its path, or of one that comes with the package.

    Args:
        name_or_path: such as "lidc-xs", or "lidc" where one model alone begins with it.

    Raises:
        FileNotFoundError: there is neither.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.exists():
        return path
    models = shipped_models()
    found = [name] if name in models else [known for known in models if known.startswith(f"{name}-")]
    if len(found) == 1:
        return models[found[0]]
    if found:
        raise FileNotFoundError(f"'{name}' may be {' or '.join(found)}. Say which.")
    raise FileNotFoundError(f"'{name}' is no file or folder, and no model of that name is shipped. {what_is_shipped()}")


def what_is_shipped() -> str:
    """One sentence."""
    models = shipped_models()
    if not models:
        return "No model comes with this version of the package."
    return f"Shipped: {', '.join(models)}."


def card_of(place: Path) -> str | None:
    """The card in a model's folder or zip file; None where it has none."""
    if place.is_dir():
        card = place / CARD_NAME
        return card.read_text(encoding="utf-8") if card.is_file() else None
    if not zipfile.is_zipfile(place):
        return None
    with zipfile.ZipFile(place) as archive:
        cards = [name for name in archive.namelist() if name.split("/")[-1] == CARD_NAME]
        return archive.read(cards[0]).decode("utf-8") if cards else None


def what_a_user_should_know(card: str | None) -> list[str]:
    """Lines for the one who asks a model of somebody else: on what it learnt, how good it is, where it ends."""
    if card is None:
        return ["The model has no card: on whom it was trained and how good it is, is not known.", NOT_A_MEDICAL_DEVICE]
    lines = []
    for title in (DATA_TITLE, PERFORMANCE_TITLE, LIMITS_TITLE):
        section = _section(card, title)
        lines += [f"{title}:", *(f"  {line}" for line in section)] if section else []
    return [*lines, NOT_A_MEDICAL_DEVICE]


def what_a_start_should_know(card: str | None) -> list[str]:
    """Lines for the one who trains on from weights that somebody else trained."""
    data = _section(card, DATA_TITLE) if card is not None else []
    learnt = " ".join(data[:1]) or "on whom, they do not say."
    return [
        f"These weights have learnt before: {learnt}",
        "Which ones is not kept. If patients of your data set are among them, the weights know their answers already, "
        "and what cross-validation says of these patients is too good.",
    ]


def _section(card: str, title: str) -> list[str]:
    """The lines of text below a heading, without tables."""
    _, found, rest = card.partition(f"## {title}\n")
    if not found:
        return []
    own = rest.partition("\n## ")[0]
    return [line for line in own.splitlines() if line.strip() and not line.startswith("|")]
