"""Reading one case: its image, its masks, and which voxels are which nodule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dsmt_nnunet.dataset_conversion.case_rows import CaseRows, NoduleRow
from dsmt_nnunet.dataset_conversion.images import (
    VolumeFinder,
    along_axes_of,
    check_same_grid,
    label_array,
    read_scan,
    read_volume,
)
from dsmt_nnunet.dataset_conversion.mask_voxels import MaskVoxels, components_of
from dsmt_nnunet.dataset_conversion.problems import Problem
from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.file_stamps import Moments, moments_of
from dsmt_nnunet.image_files import scan_digest
from dsmt_nnunet.intensities import check_hu, check_nodule, check_spacing
from dsmt_nnunet.nodules import NONE_ID, EmptyCase, Nodule

_DIAMETER_FACTOR = 3.0
_MAIN_PART = 0.9
_APART_MM = 5.0
_TELLING_VOXELS = 200
"""So many values of CT are not those of another nodule by chance."""
_ONE_FILE = (".nii", ".nii.gz")
"""Endings of files that hold all of a volume; voxels of others may lie in a second file."""


@dataclass(frozen=True)
class LoadedCase:
    """One case, ready to be written.

    Attributes:
        image: 3-D, HU.
        mask: 0 and 1, everything that is nodule, on the image's grid.
        nodules: one for each row; none where the case holds none.
        warnings: what the user should look at.
        diameter_ratios: of each nodule with a diameter in the table: that diameter by the one of its mask.
        empty: what nodules.csv says of a case without a nodule; None where there are some.
        source: what of the archive the image is; None where it was no DICOM series.
    """

    image: sitk.Image
    mask: sitk.Image
    nodules: tuple[Nodule, ...]
    warnings: tuple[str, ...]
    diameter_ratios: tuple[float, ...] = ()
    empty: EmptyCase | None = None
    source: ScanSource | None = None


@dataclass
class CaseReader:
    """Reads cases and says everything that is wrong with their files.

    Attributes:
        images: where the images are.
        masks: where the masks are.
    """

    images: VolumeFinder
    masks: VolumeFinder
    _case_of_image: dict[Path, str] = field(default_factory=dict)
    _case_of_voxels: dict[str, CaseRows] = field(default_factory=dict)
    _found_right: dict[str, Moments] = field(default_factory=dict)

    def read(self, case: CaseRows) -> tuple[LoadedCase | None, list[Problem]]:
        """Reads one case; again, without checks and their warnings, where it was right and no file has changed since.

        Returns:
            The case, None unless all of it is right, and what is wrong.
        """
        moments = self._moments(case)
        checked = moments is not None and self._found_right.get(case.case_id) == moments
        loaded, problems = self._read(case, checked)
        if loaded is not None and moments is not None:
            self._found_right[case.case_id] = moments
        return loaded, problems

    def _moments(self, case: CaseRows) -> Moments | None:
        """Of the files of a case; None where one is no single file, or not found."""
        try:
            paths = [self.images.find(case.image), *(self.masks.find(name) for name in case.masks)]
            return moments_of(paths) if all(path.name.endswith(_ONE_FILE) for path in paths) else None
        except (ValueError, OSError):
            return None

    def _read(self, case: CaseRows, checked: bool) -> tuple[LoadedCase | None, list[Problem]]:
        found = _Findings(case.case_id)
        image, source = None, None
        doubts: list[str] = []
        with found.at(case.rows[0]):
            image, source, told = self._read_image(case, checked)
            doubts += [f"case '{case.case_id}': {text}" for text in told]
        if case.is_empty:
            with found.at(case.rows[0]):
                self._check_empty(case.rows[0])
            if found.problems or image is None:
                return None, found.problems
            return replace(_without_nodule(case, image, doubts), source=source), []
        masks: dict[str, MaskVoxels] = {}
        for name in case.masks:
            with found.at(next(row for row in case.rows if row.mask == name)):
                masks[name] = self._read_mask(name, image, checked)
        shared = len(case.masks) < len(case.rows)
        regions: list[_Region] = []
        for row in case.rows:
            if row.mask in masks and (row.mask_label is not None or row.position_mm is not None or not shared):
                with found.at(row):
                    region = _Region(row, masks[row.mask], masks[row.mask].select(row))
                    if image is not None and not checked:
                        doubts += region.doubts(image) + self._told_again(region, image, case)
                    regions.append(region)
        if not found.problems:
            found.problems += _check_overlap(regions)
        if found.problems or image is None or len(regions) < len(case.rows):
            return None, found.problems
        loaded = _assemble(case, image, masks, regions)
        return replace(loaded, source=source, warnings=(*doubts, *loaded.warnings)), []

    def _read_image(self, case: CaseRows, checked: bool) -> tuple[sitk.Image, ScanSource | None, list[str]]:
        """The image, what of the archive it is, and what is doubtful about it."""
        path = self.images.find(case.image)
        if checked:
            return (*read_scan(path, checked), [])
        other = self._case_of_image.setdefault(path.resolve(), case.case_id)
        if other != case.case_id:
            raise ValueError(
                f"image {path} is the image of case '{other}' too. Nodules of one scan are rows with the same case_id."
            )
        self.images.check_single_channel(path)
        image, source = read_scan(path)
        array = sitk.GetArrayViewFromImage(image)
        doubts = check_spacing(image.GetSpacing()) + check_hu(array)
        doubts += self._told_before(f"image {path}", array, case)
        return image, source, doubts

    def _told_before(self, what: str, voxels: NDArray[np.generic], case: CaseRows) -> list[str]:
        """What to say of voxels that another case has too, whatever their order.

        Raises:
            ValueError: that case is of another patient, or in another split.
        """
        same = self._case_of_voxels.setdefault(scan_digest(voxels), case)
        if (same.patient_id, same.split) != (case.patient_id, case.split):
            raise ValueError(
                f"{what} has voxel by voxel the values of case '{same.case_id}' (patient '{same.patient_id}', "
                f"{same.split}), but belongs to patient '{case.patient_id}', {case.split}. One scan is of one patient "
                f"and in one split."
            )
        if same.case_id == case.case_id:
            return []
        return [f"{what} has voxel by voxel the values of case '{same.case_id}'. One scan is one case."]

    def _told_again(self, region: _Region, image: sitk.Image, case: CaseRows) -> list[str]:
        """The same of a nodule, which tells a scan that was cut otherwise; small ones may be alike by chance."""
        if len(region.chosen) < _TELLING_VOXELS:
            return []
        values = sitk.GetArrayViewFromImage(image)[tuple(region.mask.index_zyx[region.chosen].T)]
        where = f"case '{case.case_id}', nodule '{region.row.nodule_id}': what lies under its mask"
        return self._told_before(where, values, case)

    def _check_empty(self, row: NoduleRow) -> None:
        """Checks that no mask shows a nodule in a case that holds none."""
        if not row.mask and not self.masks.is_there(row.case_id):
            return
        path = self.masks.find(row.mask or row.case_id)
        if drawn := np.count_nonzero(sitk.GetArrayFromImage(read_volume(path))):
            raise ValueError(
                f"nodule_id '{NONE_ID}' says that the case holds no nodule, but {drawn} voxels of {path} are not 0. "
                f"Describe what is drawn there in rows of their own, or take the mask away."
            )

    def _read_mask(self, name: str, image: sitk.Image | None, checked: bool) -> MaskVoxels:
        mask = read_volume(self.masks.find(name), checked)
        if image is not None:
            mask = along_axes_of(image, mask)
        labels = label_array(mask)
        if image is not None:
            check_same_grid(image, mask)
        return MaskVoxels.of(mask, labels)


@dataclass
class _Findings:
    case_id: str
    problems: list[Problem] = field(default_factory=list)

    @contextmanager
    def at(self, row: NoduleRow) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self.problems.append(Problem(str(error), row.line, self.case_id))


@dataclass(frozen=True)
class _Region:
    """The voxels of one nodule: those of `mask` at the places `chosen`."""

    row: NoduleRow
    mask: MaskVoxels
    chosen: NDArray[np.intp]

    @property
    def flat(self) -> NDArray[np.intp]:
        return self.mask.flat[self.chosen]

    @property
    def equivalent_diameter_mm(self) -> float:
        """Diameter of the sphere of the same volume."""
        volume_mm3 = len(self.chosen) * math.prod(self.mask.grid.GetSpacing())
        return float((6 * volume_mm3 / math.pi) ** (1 / 3))

    def to_nodule(self) -> Nodule:
        row = self.row
        centre_xyz = self.mask.index_zyx[self.mask.main_part(self.chosen)].mean(axis=0)[::-1]
        return Nodule(
            case_id=row.case_id,
            nodule_id=row.nodule_id,
            patient_id=row.patient_id,
            centre_mm=self.mask.grid.TransformContinuousIndexToPhysicalPoint(centre_xyz.tolist()),
            diameter_mm=self.equivalent_diameter_mm if math.isnan(row.diameter_mm) else row.diameter_mm,
            labels=row.labels,
            votes=row.votes,
            extra=row.extra,
            covariates=row.covariates,
        )

    def doubts(self, image: sitk.Image) -> list[str]:
        """What is doubtful about the tissue under the mask.

        Raises:
            ValueError: it cannot be a nodule.
        """
        voxels, spacing_mm = self.mask.index_zyx[self.chosen], image.GetSpacing()[::-1]
        found = check_nodule(sitk.GetArrayViewFromImage(image), voxels, spacing_mm)
        return [f"case '{self.row.case_id}', nodule '{self.row.nodule_id}': {text}" for text in found]

    @property
    def diameter_ratio(self) -> float:
        """Of the table's diameter to that of the mask; NaN where the table has none."""
        return self.row.diameter_mm / self.equivalent_diameter_mm

    def warnings(self) -> Iterator[str]:
        where = f"case '{self.row.case_id}', nodule '{self.row.nodule_id}'"
        apart = len(self.chosen) - len(self.mask.main_part(self.chosen))
        main_part = 1 - apart / len(self.chosen)
        if self.row.mask_label is None and main_part < _MAIN_PART:
            yield (
                f"{where}: the mask falls into parts, the largest holds {main_part:.0%} of it; they are taken as one "
                f"nodule. If they are several, give each its row, or say by mask_label or x_mm, y_mm, z_mm which it is."
            )
        elif apart and (away_mm := self.mask.farthest_part_mm(self.chosen)) > _APART_MM:
            yield f"{where}: {apart} voxels of its mask lie apart, up to {away_mm:.0f} mm away. By mistake?"
        ratio = self.diameter_ratio
        if ratio > _DIAMETER_FACTOR or ratio < 1 / _DIAMETER_FACTOR:
            yield (
                f"{where}: diameter_mm is {self.row.diameter_mm:g}, but the mask has the volume of a sphere of "
                f"{self.equivalent_diameter_mm:.1f} mm. Is the unit mm, and is it the right mask?"
            )


def _check_overlap(regions: Sequence[_Region]) -> list[Problem]:
    problems = []
    for number, region in enumerate(regions):
        for other in regions[:number]:
            shared = np.intersect1d(region.flat, other.flat, assume_unique=True).size
            if shared:
                problems.append(
                    Problem(
                        f"nodule '{region.row.nodule_id}' shares {shared} voxels with nodule '{other.row.nodule_id}' "
                        f"(line {other.row.line}). Each needs its own part of the mask: correct mask, mask_label or "
                        f"position.",
                        region.row.line,
                        region.row.case_id,
                    )
                )
    return problems


def _assemble(
    case: CaseRows, image: sitk.Image, masks: Mapping[str, MaskVoxels], regions: Sequence[_Region]
) -> LoadedCase:
    by_label = {region.row.mask for region in regions if region.row.mask_label is not None}
    parts = [voxels.flat for name, voxels in masks.items() if name not in by_label]
    parts += [region.flat for region in regions if region.row.mask in by_label]
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array.flat[np.concatenate(parts)] = 1
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(image)
    return LoadedCase(
        image=image,
        mask=mask,
        nodules=tuple(region.to_nodule() for region in regions),
        warnings=tuple(text for region in regions for text in region.warnings()) + _touching(array, regions),
        diameter_ratios=tuple(r.diameter_ratio for r in regions if not math.isnan(r.row.diameter_mm)),
    )


def _without_nodule(case: CaseRows, image: sitk.Image, doubts: Sequence[str]) -> LoadedCase:
    mask = sitk.GetImageFromArray(np.zeros(image.GetSize()[::-1], np.uint8))
    mask.CopyInformation(image)
    empty = EmptyCase(case.case_id, case.patient_id, case.rows[0].extra)
    return LoadedCase(image, mask, (), tuple(doubts), empty=empty)


def _touching(mask: NDArray[np.uint8], regions: Sequence[_Region]) -> tuple[str, ...]:
    """One sentence for every two nodules that are one connected component of the mask that is written."""
    if len(regions) < 2:
        return ()
    index = np.argwhere(mask)
    component = dict(zip(np.flatnonzero(mask).tolist(), components_of(index).tolist(), strict=True))
    owner: dict[int, str] = {}
    texts = []
    for region in regions:
        for part in {component[place] for place in region.flat.tolist()}:
            other = owner.setdefault(part, region.row.nodule_id)
            if other != region.row.nodule_id:
                texts.append(
                    f"case '{region.row.case_id}': nodules '{other}' and '{region.row.nodule_id}' touch, so that they "
                    f"are one component of the written mask."
                )
    return tuple(texts)
