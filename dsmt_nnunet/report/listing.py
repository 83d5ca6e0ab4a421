"""Every nodule of an evaluation in one table: where it is, and what was said of it."""

from __future__ import annotations

from collections.abc import Sequence

from dsmt_nnunet.report.cards import Card
from dsmt_nnunet.report.tables import Row, Table

COLUMNS = ("Case", "Nodule", "x, y, z in mm (LPS)", "Series", "Image", "Table position, mm", "SOP Instance UID")
NOTE = (
    "Image is the Instance Number, or the frame of a multi-frame object; without a known series, the slice of the "
    "volume. Table position is the Slice Location, else z of Image Position (Patient)."
)


def nodule_listing(cards: Sequence[Card]) -> Table | None:
    """The nodules by case, with the answers to the primary task; None without nodules."""
    if not cards:
        return None
    asked = [answer.title for answer in cards[0].answers[:1]]
    columns = (*COLUMNS, *(f"{title}: {what}" for title in asked for what in ("probability", "called", "truth")))
    ordered = sorted(cards, key=lambda card: (card.case_id, card.nodule_id))
    return Table("Every nodule", columns, tuple(map(_row, ordered)), NOTE)


def _row(card: Card) -> Row:
    place = card.place
    cells = [card.case_id, card.nodule_id, ", ".join(f"{value:.1f}" for value in card.centre_mm or ())]
    if place is None:
        cells += [""] * 4
    else:
        number = "" if place.number is None else str(place.number)
        cells += [place.series_number, number, f"{place.table_mm:.1f}", place.sop_uid]
    for answer in card.answers[:1]:
        probability = f"{answer.probability:.3f}" if answer.probability == answer.probability else ""
        cells += [probability, answer.decision, answer.truth_in_words]
    return tuple(cells)
