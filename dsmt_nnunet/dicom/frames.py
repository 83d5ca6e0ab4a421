"""What each image of an object says of itself, whether it is one of a multi-frame object or stands alone."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

PER_FRAME = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence"

_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "CTReconstructionSequence",
    "FrameContentSequence",
)
"""Functional groups with what the header of a single image holds: place, spacing, rescaling, kernel, time."""


def frames_of(dataset: Dataset) -> Iterator[Dataset]:
    """The header of each frame, with the attributes that a single image has in its own; without frames the object.

    What stands in a frame's own functional group counts before what all frames share.
    """
    if PER_FRAME not in dataset:
        yield dataset
        return
    shared = (dataset.get(SHARED) or [Dataset()])[0]
    for own in dataset.get(PER_FRAME):
        frame = Dataset()
        for name in _GROUPS:
            sequence = own.get(name) or shared.get(name)
            frame.update(sequence[0] if sequence else {})
        yield frame
