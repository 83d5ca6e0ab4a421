"""Folds that a study makes for itself: a centre at a time, or patients dealt anew. The user's stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dsmt_nnunet.files import write_json
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema


def centre_folds(
    table: Path, schema: ClassificationSchema, column: str, case_ids: Sequence[str]
) -> dict[str, dict[str, list[str]]]:
    """Centre -> cases of the others to learn from (`train`) and its own (`val`), in the form of splits_final.json.

    Args:
        table: nodules.csv.
        schema: its tasks.
        column: that names the centre.
        case_ids: of the folds that are there.

    Raises:
        ValueError: a case has no centre or several, or all are of one.
    """
    nodules = NoduleTable.read(table, schema)
    rows = nodules.rows
    if not any(column in row.extra for row in rows):
        raise ValueError(f"{table} has no column '{column}' (--by); name a further column that holds the centre.")
    found: dict[str, set[str]] = {case_id: set() for case_id in case_ids}
    for row in rows:
        if row.case_id in found and row.extra.get(column):
            found[row.case_id].add(row.extra[column])
    wrong = [case_id for case_id, names in found.items() if len(names) != 1]
    if wrong:
        held = sorted(found[wrong[0]]) or "nothing"
        raise ValueError(
            f"{table}: every case is of one centre, but '{wrong[0]}' has {held} in column '{column}' ({len(wrong)} "
            f"cases in all). Fill it in."
        )
    centre_of = {case_id: next(iter(names)) for case_id, names in found.items()}
    names = sorted(set(centre_of.values()))
    if len(names) < 2:
        raise ValueError(f"{table}: all cases are of centre {names} (--by {column}); there is none to leave out.")
    return {
        name: {
            "train": sorted(case for case, centre in centre_of.items() if centre != name),
            "val": sorted(case for case, centre in centre_of.items() if centre == name),
        }
        for name in names
    }


def link_preprocessed(source: Path, target: Path, folds: Sequence[Mapping[str, list[str]]]) -> None:
    """A preprocessed data set of links to another one, with folds of its own; what is there already is kept."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        link = target / path.name
        if path.name != "splits_final.json" and not link.is_symlink() and not link.exists():
            link.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    write_json(target / "splits_final.json", list(folds))


def seeded_folds(
    table: Path, schema: ClassificationSchema, seed: int, case_ids: Sequence[str]
) -> list[dict[str, list[str]]]:
    """Folds as `dsmt plan` makes them, with patients dealt in another order."""
    from dsmt_nnunet.dataloading.splits import grouped_splits

    return grouped_splits(NoduleTable.read(table, schema), case_ids, schema, seed=seed)
