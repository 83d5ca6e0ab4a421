"""What a study was meant to show, written down before its first training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dsmt_nnunet.files import write_bytes
from dsmt_nnunet.records import RecordError, from_json, read_object, write_json

SCHEMA_VERSION = 1
REGISTERED_NAME = "preregistration.json"
SEAL_NAME = "preregistration_seal.json"
PRIMARY, SECONDARY, EXPLORATORY = "primary", "secondary", "exploratory"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A row of seeds.csv: the run (or floor) compared with DSMTTrainer, in a cohort or in all nodules."""

    run: str
    cohort: str | None = None

    @property
    def row(self) -> tuple[str, str]:
        """What stands in the row."""
        return self.run, self.cohort or "all"


@dataclass(frozen=True, kw_only=True)
class Preregistration:
    """The file that a person writes.

    Attributes:
        hypotheses: in words, at least one.
        primary: the one comparison that the study is judged by.
        secondary: further comparisons that were planned.
        analysis: in words: the test, the level, what is done with several comparisons, when the study stops.
    """

    hypotheses: tuple[str, ...]
    primary: Endpoint
    analysis: str
    secondary: tuple[Endpoint, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Seal:
    """Checksum of the file and when it was given, in UTC."""

    schema_version: int = SCHEMA_VERSION
    sha256: str
    written: str


def register(folder: Path, file: Path | None, has_trained: bool) -> Seal | None:
    """Copies the file into the folder of a study and seals it; later calls check that it is still the same.

    Args:
        folder: of the study.
        file: what `--preregister` named; None where it was not given.
        has_trained: whether a training of the study has ended already.

    Returns:
        The seal; None where the study is not registered.

    Raises:
        ValueError: a training has ended already, another file was registered, the registered one has changed, or the
            file breaks its rules.
    """
    kept, seal = folder / REGISTERED_NAME, folder / SEAL_NAME
    if seal.is_file():
        found, _ = read_registered(folder)
        if file is not None and _digest(file) != found.sha256:
            raise ValueError(
                f"{folder} was registered on {found.written} with another file than {file} (SHA-256 {found.sha256}). "
                f"What was registered is not changed afterwards: give that file, or name another folder with -o."
            )
        return found
    if file is None:
        return None
    if has_trained:
        raise ValueError(
            f"{folder} holds trainings already: a study is registered before its first. Name another folder with -o, "
            f"or leave --preregister out; all comparisons are then exploratory."
        )
    _parsed(file)
    write_bytes(kept, file.read_bytes())
    made = Seal(sha256=_digest(kept), written=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    write_json(made, seal)
    return made


def read_registered(folder: Path) -> tuple[Seal, Preregistration]:
    """Reads both files of a registered study.

    Raises:
        ValueError: the registered file has changed or is gone, or one of them is damaged.
    """
    kept, seal = folder / REGISTERED_NAME, folder / SEAL_NAME
    try:
        found = from_json(Seal, read_object(seal))
    except RecordError as error:
        raise ValueError(f"{seal}: {error}. Put the file back as it was.") from error
    if not kept.is_file() or _digest(kept) != found.sha256:
        raise ValueError(
            f"{kept} is not the file that was registered on {found.written} (SHA-256 {found.sha256}). Put it "
            f"back as it was, or name another folder with -o."
        )
    return found, _parsed(kept)


def marked(folder: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows of seeds.csv or cohorts.csv with a column `registered`, where the study is; else as they are."""
    if not (folder / SEAL_NAME).is_file():
        return [dict(row) for row in rows]
    seal, plan = read_registered(folder)
    secondary = {item.row for item in plan.secondary or ()}
    named = []
    for row in rows:
        key = (row["run"], row.get("cohort", ""))
        kind = PRIMARY if key == plan.primary.row else EXPLORATORY
        kind = SECONDARY if kind == EXPLORATORY and key in secondary else kind
        named.append({**row, "registered": kind, "registration_sha256": seal.sha256[:12]})
    return named


def _parsed(file: Path) -> Preregistration:
    try:
        plan = from_json(Preregistration, read_object(file))
    except RecordError as error:
        raise ValueError(
            f"{file}: {error}. Its keys are hypotheses, primary, analysis, and secondary if any."
        ) from error
    if not any(text.strip() for text in plan.hypotheses) or not plan.analysis.strip():
        raise ValueError(f"{file}: hypotheses and analysis must say something.")
    return plan


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
