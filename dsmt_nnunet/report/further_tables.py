"""Tables of what is asked beyond the AUC of each score: non-inferiority, interactions, agreement of readers, grades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsmt_nnunet.evaluation.records.agreement import Agreement
from dsmt_nnunet.evaluation.records.comparisons import AdjustedFamily, PairedComparison
from dsmt_nnunet.evaluation.records.metrics import TableMetrics
from dsmt_nnunet.report.grade_tables import grade_tables
from dsmt_nnunet.report.numbers import p_value, readable, shown, with_interval
from dsmt_nnunet.report.panel import BinaryPanel
from dsmt_nnunet.report.tables import Row, Table
from dsmt_nnunet.statistics.non_inferiority import NonInferiority


def further_tables(panel: BinaryPanel, confidence: str, families: Sequence[AdjustedFamily]) -> list[Table]:
    """Those that have something to say."""
    notes = {item.name: item.sentence for item in families}
    tables = [
        _non_inferiority_table(panel),
        _added_table(panel, notes.get("added value", "")),
        _interaction_table(panel, notes.get("interactions", "")),
        *(_agreement_tables(panel.comparisons.agreement, confidence) if panel.comparisons.agreement else ()),
        *grade_tables(panel.grades, confidence, families),
    ]
    return [table for table in tables if table.rows]


def _non_inferiority_table(panel: BinaryPanel) -> Table:
    found = list(_asked(panel))
    rows = tuple(
        (name, f"{item.margin:g}", shown(item.lower), p_value(item.p_value), "shown" if item.is_shown else "not shown")
        for name, item in found
    )
    note = "Shown where the lower limit of the first AUC less the second lies above the negative margin."
    columns = ("First - second", "Margin", "Lower limit", "p, one-sided", "Non-inferiority")
    return Table("Is the first AUC at most the margin below the second?", columns, rows, note)


def _asked(panel: BinaryPanel) -> Iterator[tuple[str, NonInferiority]]:
    titles = {series.key: series.name for series in panel.series}
    for item in panel.comparisons.comparisons:
        if isinstance(item, PairedComparison) and item.non_inferiority:
            yield " - ".join(item.scores), item.non_inferiority
    for name, reader in panel.comparisons.readers.items():
        for score, against in reader.against.items():
            if against.auc and against.auc.non_inferiority:
                yield f"{titles[score]} - {name}", against.auc.non_inferiority
    together = panel.comparisons.multi_reader
    for score, all_readers in (together.model_minus_readers if together else {}).items():
        if all_readers.non_inferiority:
            yield f"{titles[score]} - all readers", all_readers.non_inferiority


def _added_table(panel: BinaryPanel, note: str) -> Table:
    found = panel.comparisons.added_value if isinstance(panel.comparisons, TableMetrics) else None
    rows = tuple(
        (
            f"{item.score}, to {', '.join(map(readable, item.beside))} ({item.n})",
            shown(item.weight, 2),
            item.test,
            p_value(item.p_value),
            p_value(item.p_value_holm),
        )
        for item in found or ()
    )
    columns = ("What adds to what (cases)", "Log odds a standard deviation", "Test", "p", "p, Holm")
    return Table("Does the score add to what is known without it?", columns, rows, note)


def _interaction_table(panel: BinaryPanel, note: str) -> Table:
    rows = []
    for item in panel.comparisons.interactions:
        levels = ", ".join(f"{level} {shown(value)}" for level, value in zip(item.levels, item.estimates, strict=True))
        rows.append(
            (
                f"AUC of {item.subject}, {readable(item.group)}",
                levels,
                p_value(item.p_value),
                p_value(item.p_value_holm),
            )
        )
    columns = ("What, over which column", "At each level", "p, equal at all", "p, Holm")
    return Table("Does it depend on the subgroup?", columns, tuple(rows), note)


def _agreement_tables(agreement: Agreement, confidence: str) -> list[Table]:
    pairs: list[Row] = [
        (
            " and ".join(item.readers),
            str(item.n),
            shown(item.equal, 2),
            with_interval(item.quadratic_kappa, item.quadratic_kappa_ci),
        )
        for item in agreement.pairs
    ]
    columns = ("Readers", "Cases", "Equal ratings", f"Quadratic kappa ({confidence} interval)")
    note = ""
    if agreement.all:
        everyone = agreement.all
        note = f"All readers: Krippendorff's ordinal alpha {with_interval(everyone.alpha, everyone.alpha_ci)} on "
        note += f"{everyone.n} cases with two ratings or more"
        if everyone.fleiss_kappa is not None:
            shown_kappa = with_interval(everyone.fleiss_kappa, everyone.fleiss_kappa_ci)
            note += f"; Fleiss' kappa {shown_kappa} on the {everyone.n_complete} that all rated"
        note += "."
    return [Table("Agreement of the readers with each other", columns, tuple(pairs), note)]
