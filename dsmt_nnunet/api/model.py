"""A loaded model, to be asked about scans in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from dsmt_nnunet.api.images import ArrayPlace, ImageLike, Positions, channels_of, covariates_of, nodules_at
from dsmt_nnunet.api.prediction import Prediction
from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.identifiers import case_id_problem
from dsmt_nnunet.inference.explain_scan import explain_scan
from dsmt_nnunet.inference.model_files import load_predictor
from dsmt_nnunet.inference.model_zip import opened_model
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.predictions.explanation import Explanation
from dsmt_nnunet.shipped_models import model_place
from dsmt_nnunet.tasks import Task


def load_model(
    model: str | Path,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    device: str | None = None,
    *,
    mirroring: bool = True,
    trust: bool = False,
) -> Model:
    """Loads a trained model.

    Args:
        model: the model folder (with plans.json and fold_K), nnU-Net's export of it, or the name of a model that comes
            with the package (`dsmt model list`).
        folds: numbers, or "all"; None for all that hold the checkpoint.
        checkpoint: file in each fold's folder.
        device: cuda, mps or cpu; None for the first that is there.
        mirroring: whether answers are averaged over mirrorings.
        trust: whether checkpoints and plans may run code of their own; by default such a model is refused.

    Raises:
        FileNotFoundError: no model is there, or a fold lacks the checkpoint.
        ValueError: not a DSMT model, several models, or one that wants to run code.

    >>> import dsmt_nnunet as dsmt
    >>> model = dsmt.load_model(dsmt.example_model())
    >>> [task.name for task in model.tasks], model.primary_task
    (['texture', 'invasiveness'], 'invasiveness')
    """
    with opened_model(model_place(model)) as folder:
        return Model(load_predictor(folder, folds, checkpoint, device, mirroring=mirroring, trust=trust))


class Model:
    """A DSMT model in memory. It keeps nothing of the scans it is asked about.

    >>> import dsmt_nnunet as dsmt
    >>> dsmt.load_model(dsmt.example_model(), folds=[0])
    <Model of Dataset000_Example, folds: 1, tasks: texture, invasiveness>
    """

    def __init__(self, predictor: DSMTPredictor) -> None:
        self._predictor = predictor

    def __repr__(self) -> str:
        names = ", ".join(task.name for task in self.tasks)
        dataset = self._predictor.plans_manager.dataset_name
        return f"<Model of {dataset}, folds: {len(self._predictor.networks)}, tasks: {names}>"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The questions it answers."""
        return self._predictor.plan.schema.tasks

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """What it can be told of a nodule beside the image."""
        return self._predictor.plan.covariates

    @property
    def primary_task(self) -> str:
        """Name of the task it was trained for above all."""
        return self._predictor.plan.schema.primary_task

    def predict(
        self,
        image: ImageLike,
        positions: Positions | None = None,
        *,
        spacing_mm: Sequence[float] | None = None,
        origin_mm: Sequence[float] | None = None,
        direction: Sequence[float] | None = None,
        case_id: str = "case",
        force_intensities: bool = False,
        covariates: Mapping[str, Any] | None = None,
    ) -> Prediction:
        """Classifies and segments the nodules of a scan.

        Args:
            image: a SimpleITK image, a NumPy array (Z, Y, X), an image file or a DICOM folder; CT in HU. For a model of
                several channels, a list of images or files.
            positions: one point (x, y, z) in mm, LPS; several, (N, 3); or nodule name -> point. None searches the scan.
            spacing_mm: of an array, (x, y, z).
            origin_mm: of an array, the centre of its first voxel (x, y, z).
            direction: of an array, nine cosines as SimpleITK has them; None for axes along the world's.
            case_id: name of the case in the result.
            force_intensities: whether intensities that do not look like HU are taken all the same.
            covariates: name -> value, of the patient and so of every nodule; or nodule name -> such a mapping, for
                given positions. For what is left out stands what is expected of a nodule with such descriptors.

        Raises:
            ValueError: an image that is not what the model needs, or positions outside of it.

        >>> import dsmt_nnunet as dsmt
        >>> image, centre_mm = dsmt.example_scan()
        >>> model = dsmt.load_model(dsmt.example_model())
        >>> (nodule,) = model.predict(image, centre_mm).nodules
        >>> sorted(nodule.tasks["invasiveness"].probabilities)
        ['invasive', 'non-invasive']
        >>> import SimpleITK as sitk
        >>> array = sitk.GetArrayFromImage(image)
        >>> again = model.predict(
        ...     array, {"left": centre_mm}, spacing_mm=image.GetSpacing(), origin_mm=image.GetOrigin()
        ... )
        >>> again.nodules[0].tasks == nodule.tasks
        True
        """
        if problem := case_id_problem(case_id):
            raise ValueError(f"Case '{case_id}': a case_id {problem}.")
        channels, scan = self._scan(image, ArrayPlace(spacing_mm, origin_mm, direction))
        nodules = None if positions is None else nodules_at(positions, channels[0], case_id)
        with _named(case_id):
            scan = scan.checked(self._windows, [nodule.centre_mm for nodule in nodules or ()], force=force_intensities)
            names = [] if nodules is None else [nodule.nodule_id for nodule in nodules]
            of_all, of_each = covariates_of(self.covariates, covariates or {}, names)
            if nodules is not None:
                nodules = tuple(replace(nodule, covariates=of_each[nodule.nodule_id]) for nodule in nodules)
            answer = self._predictor.answer(scan, nodules, of_all)
        mask = scan.label_image(answer.mask, channels[0], self._predictor.plans_manager)
        return Prediction(self._predictor.case_prediction(case_id, scan, answer.found), mask)

    def explain(
        self,
        image: ImageLike,
        positions: Positions,
        task: str | None = None,
        *,
        spacing_mm: Sequence[float] | None = None,
        origin_mm: Sequence[float] | None = None,
        direction: Sequence[float] | None = None,
        case_id: str = "case",
        force_intensities: bool = False,
    ) -> tuple[Explanation, ...]:
        """Maps of what drove a score, at both scales; one explanation a position, in their order.

        Args:
            image: as in `predict`.
            positions: as in `predict`.
            task: whose score is explained; None for the primary task's.
            spacing_mm: as in `predict`.
            origin_mm: as in `predict`.
            direction: as in `predict`.
            case_id: as in `predict`.
            force_intensities: as in `predict`.

        Raises:
            ValueError: as in `predict`, or the model has no such task.

        >>> import dsmt_nnunet as dsmt
        >>> image, centre_mm = dsmt.example_scan()
        >>> (maps,) = dsmt.load_model(dsmt.example_model()).explain(image, centre_mm)
        >>> maps.task, maps.class_name, maps.local.values.ndim
        ('invasiveness', 'invasive', 3)
        """
        channels, scan = self._scan(image, ArrayPlace(spacing_mm, origin_mm, direction))
        points = [nodule.centre_mm for nodule in nodules_at(positions, channels[0], case_id)]
        with _named(case_id):
            scan = scan.checked(self._windows, points, force=force_intensities)
            return explain_scan(self._predictor, scan, points, task)

    @property
    def _windows(self) -> tuple[tuple[float, float] | None, ...]:
        return tuple(self._predictor.plan.context.windows)

    def _scan(self, image: ImageLike, place: ArrayPlace) -> tuple[list[sitk.Image], ScanImage]:
        channels = channels_of(image, place)
        return channels, ScanImage.of_channels(channels, self._predictor.plans_manager)


@contextmanager
def _named(case_id: str) -> Iterator[None]:
    """Puts the case before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Case '{case_id}': {error}") from error
