"""LIDC's XML: what four radiologists drew and rated, each reader's mask and their consensus.

The format: Armato et al., Med Phys 38 (2011) 915, and the documentation of LIDC-IDRI at The Cancer Imaging Archive. A
contour runs through the first pixels outside of the nodule; `inclusion` FALSE marks a hole.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from dsmt_nnunet.dicom.contours import StructureMask, fill_polygon
from dsmt_nnunet.dicom.packed_files import PackedFile
from dsmt_nnunet.dicom.slice_grid import SliceGrid

logger = logging.getLogger(__name__)
CONSENSUS_SHARE = 0.5
"""A voxel belongs to the consensus when at least this share of the readers who drew the nodule took it in."""
_SHRINK = 0.8
_SMALLEST_MM = 0.5


@dataclass(frozen=True)
class LidcReading:
    """One nodule as one reader drew it.

    Attributes:
        reader: number of the reading session, from 0 on.
        nodule_id: as the reader called it.
        ratings: malignancy, spiculation, ... -> vote; empty where the reader gave none.
        structure: what was drawn.
    """

    reader: int
    nodule_id: str
    ratings: Mapping[str, int]
    structure: StructureMask


@dataclass(frozen=True)
class LidcNodule:
    """One nodule as several readers drew it."""

    readings: tuple[LidcReading, ...]

    @property
    def readers(self) -> tuple[int, ...]:
        return tuple(reading.reader for reading in self.readings)

    def consensus(self, name: str = "nodule") -> StructureMask:
        """Voxels that at least half of the readers who drew this nodule took in."""
        drawn = np.concatenate([reading.structure.voxels_zyx for reading in self.readings])
        voxels, votes = np.unique(drawn, axis=0, return_counts=True)
        agreed = voxels[votes >= CONSENSUS_SHARE * len(self.readings)]
        of_reader: dict[int, list[NDArray[np.intp]]] = {}
        for reading in self.readings:
            of_reader.setdefault(reading.reader + 1, []).append(reading.structure.voxels_zyx)
        single = {reader: np.unique(np.concatenate(parts), axis=0) for reader, parts in of_reader.items()}
        return StructureMask(name, agreed, self.readings[0].structure.shape, single)


def lidc_series_uid(file: PackedFile) -> str | None:
    """UID of the series that an XML file was drawn on, None when it is no LIDC reading."""
    if file.suffix != ".xml":
        return None
    try:
        root = ElementTree.fromstring(file.read())
    except ElementTree.ParseError as error:
        logger.warning("%s is cut off or no XML (%s): what readers may have drawn in it is not read.", file.name, error)
        return None
    return _text(root, "SeriesInstanceUid") or None if _local(root.tag) == "LidcReadMessage" else None


def read_lidc(file: PackedFile, grid: SliceGrid) -> list[LidcNodule]:
    """Reads the nodules that were drawn (those of 3 mm and more), matched between the readers.

    Args:
        file: the XML.
        grid: of the series that it names.

    Returns:
        The nodules, the largest consensus first. Marks of a single point (nodules below 3 mm, other findings) are left
        out, and contours that enclose no voxel.

    Raises:
        ValueError: not LIDC's XML, of another series, or a contour on a slice that the series lacks.
    """
    try:
        root = ElementTree.fromstring(file.read())
    except ElementTree.ParseError as error:
        raise ValueError(f"{file.name} is not readable XML: {error}.") from error
    drawn_on = _text(root, "SeriesInstanceUid")
    if _local(root.tag) != "LidcReadMessage" or drawn_on != grid.series.uid:
        raise ValueError(f"{file.name} holds no LIDC reading of {grid.series.where}; it names series '{drawn_on}'.")
    slices = {uid: index for index, uid in enumerate(grid.sop_uids)}
    readings = []
    for reader, session in enumerate(_children(root, "readingSession")):
        for nodule in _children(session, "unblindedReadNodule"):
            rois = _children(nodule, "roi")
            if len(rois) > 1 or any(len(_children(roi, "edgeMap")) > 1 for roi in rois):
                structure = _structure(_text(nodule, "noduleID"), rois, slices, grid, file.name)
                if len(structure.voxels_zyx):
                    readings.append(LidcReading(reader, structure.name, _ratings(nodule), structure))
    nodules = match_readings(readings, grid.spacing_mm)
    return sorted(nodules, key=lambda one: -len(one.consensus().voxels_zyx))


def match_readings(readings: Sequence[LidcReading], spacing_mm: Sequence[float]) -> list[LidcNodule]:
    """Groups the readings of one nodule.

    Readings whose masks come as near as one slice belong together. Where that would put two readings of one reader into
    a group, the distance is lowered for that group until it falls apart, as pylidc does (Hancock and Magnan, J Med
    Imaging 3 (2016) 044504); overlapping masks stay together in any case.

    Args:
        readings: all on one grid.
        spacing_mm: (x, y, z).
    """
    points = [KDTree(reading.structure.voxels_zyx * np.array(spacing_mm)[::-1]) for reading in readings]
    distances = np.zeros((len(readings), len(readings)))
    for first in range(len(readings)):
        for second in range(first):
            nearest = points[first].query(points[second].data)[0].min()
            distances[first, second] = distances[second, first] = nearest
    groups = _split(list(range(len(readings))), readings, distances, max(spacing_mm))
    return [LidcNodule(tuple(readings[index] for index in sorted(group))) for group in groups]


def lidc_structures(nodules: Sequence[LidcNodule]) -> list[StructureMask]:
    """The consensus of every nodule, called `nodule 1`, `nodule 2`, ... in the order given."""
    return [nodule.consensus(f"nodule {number}") for number, nodule in enumerate(nodules, start=1)]


def described(nodules: Sequence[LidcNodule], grid: SliceGrid) -> list[tuple[str, str]]:
    """Names of the structures of `lidc_structures`, and what tells them apart: size, place, readers.

    Args:
        nodules: as `read_lidc` gives them.
        grid: they were read on.
    """
    lines = []
    for structure, nodule in zip(lidc_structures(nodules), nodules, strict=True):
        diameter = (len(structure.voxels_zyx) * float(np.prod(grid.spacing_mm)) * 6 / np.pi) ** (1 / 3)
        place = ", ".join(f"{value:.1f}" for value in grid.centre_mm(structure.voxels_zyx))
        lines.append((structure.name, f"{diameter:.1f} mm at {place}, drawn by {len(set(nodule.readers))}"))
    return lines


def _split(
    members: list[int], readings: Sequence[LidcReading], distances: NDArray[np.float64], tolerance_mm: float
) -> list[list[int]]:
    groups = []
    for group in _linked(members, distances, tolerance_mm):
        readers = [readings[index].reader for index in group]
        if len(set(readers)) == len(readers) or tolerance_mm == 0:
            groups.append(group)
        else:
            smaller = tolerance_mm * _SHRINK
            groups += _split(group, readings, distances, smaller if smaller > _SMALLEST_MM else 0.0)
    return groups


def _linked(members: Sequence[int], distances: NDArray[np.float64], tolerance_mm: float) -> list[list[int]]:
    """Groups in which each member is linked to another, directly or by way of others."""
    left = list(members)
    groups = []
    while left:
        group, queue = [], [left.pop(0)]
        while queue:
            current = queue.pop()
            group.append(current)
            near = [other for other in left if distances[current, other] <= tolerance_mm + 1e-6]
            left = [other for other in left if other not in near]
            queue += near
        groups.append(group)
    return groups


def _structure(
    name: str, rois: Sequence[ElementTree.Element], slices: Mapping[str, int], grid: SliceGrid, name_of_file: str
) -> StructureMask:
    columns, rows, count = grid.size
    drawn: dict[int, NDArray[np.bool_]] = {}
    holes: dict[int, NDArray[np.bool_]] = {}
    for roi in rois:
        uid = _text(roi, "imageSOP_UID")
        if uid not in slices:
            raise ValueError(f"{name_of_file}: a contour lies on image {uid}, which {grid.series.where} lacks.")
        edges = _children(roi, "edgeMap")
        try:
            points = np.array([[int(_text(edge, "xCoord")), int(_text(edge, "yCoord"))] for edge in edges])
        except ValueError as error:
            raise ValueError(
                f"{name_of_file}: nodule '{name}' has a contour without whole numbers ({error}), on image {uid}."
            ) from error
        inside = fill_polygon(points.astype(float), (rows, columns))
        border = points[np.all((points >= 0) & (points < (columns, rows)), axis=1)]
        inside[border[:, 1], border[:, 0]] = False
        target = holes if _text(roi, "inclusion").upper() == "FALSE" else drawn
        target[slices[uid]] = target.get(slices[uid], np.zeros_like(inside)) | inside
    voxels = [np.zeros((0, 3), np.intp)]
    for index, inside in drawn.items():
        kept = np.argwhere(inside & ~holes.get(index, np.zeros_like(inside)))
        voxels.append(np.column_stack([np.full(len(kept), index), kept]))
    return StructureMask(name, np.concatenate(voxels), (count, rows, columns))


def _ratings(nodule: ElementTree.Element) -> dict[str, int]:
    return {
        _local(item.tag): int(item.text)
        for block in _children(nodule, "characteristics")
        for item in block
        if item.text and item.text.strip().isdigit()
    }


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _local(child.tag) == name]


def _text(element: ElementTree.Element, name: str) -> str:
    found = next((item for item in element.iter() if _local(item.tag) == name), None)
    return (found.text or "").strip() if found is not None else ""
