"""One row of the table, read, and the rows of one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsmt_nnunet.covariates import Covariates
from dsmt_nnunet.dataset_conversion.raw_dataset import Split
from dsmt_nnunet.nodules import NONE_ID


@dataclass(frozen=True)
class NoduleRow:
    """One row of the table, read and checked on its own.

    Attributes:
        line: line in the table.
        case_id: nnU-Net case identifier.
        nodule_id: unique within the case; "" until it is numbered, `none` where the case holds no nodule.
        patient_id: whose scan it is.
        split: train or test.
        image: name of the image, the case_id where the table names none.
        mask: name of the mask, the case_id where the table names none; "" of a case without nodule that names none.
        mask_label: value of this nodule in the mask, None when not given.
        position_mm: (x, y, z) in mm, LPS, None when not given.
        diameter_mm: NaN when not given.
        labels: task -> class, None when not known.
        votes: task -> class of each reader's vote; no entry where there are none.
        extra: columns carried along.
        covariates: covariate -> number or category, None when not known.
    """

    line: int
    case_id: str
    nodule_id: str
    patient_id: str
    split: Split
    image: str
    mask: str
    mask_label: int | None
    position_mm: tuple[float, float, float] | None
    diameter_mm: float
    labels: Mapping[str, str | None]
    votes: Mapping[str, tuple[str, ...]]
    extra: Mapping[str, str]
    covariates: Covariates

    @property
    def is_empty(self) -> bool:
        """Whether the row says that its case holds no nodule."""
        return self.nodule_id == NONE_ID


@dataclass(frozen=True)
class CaseRows:
    """All rows of one case; they agree on patient, split and image."""

    case_id: str
    rows: tuple[NoduleRow, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the case holds no nodule."""
        return self.rows[0].is_empty

    @property
    def image(self) -> str:
        return self.rows[0].image

    @property
    def split(self) -> Split:
        return self.rows[0].split

    @property
    def patient_id(self) -> str:
        return self.rows[0].patient_id

    @property
    def masks(self) -> tuple[str, ...]:
        """Names of the masks, each once."""
        return tuple(dict.fromkeys(row.mask for row in self.rows))
