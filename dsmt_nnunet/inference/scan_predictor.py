"""One scan through a model: the path that nnU-Net's commands and the Python door share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch._dynamo import OptimizedModule

from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.covariates import Covariates
from dsmt_nnunet.dataloading.context_volumes import ContextVolume, coarse_copy
from dsmt_nnunet.files import check_archive
from dsmt_nnunet.geometry import ArrayGeometry, Point
from dsmt_nnunet.inference.air_padding import AirPaddedPredictor, padding_to_patch
from dsmt_nnunet.inference.candidates import Findings, scan_marks
from dsmt_nnunet.inference.classifier import (
    NoduleClassifier,
    NoduleOutput,
    check_finite_logits,
    describe,
    volume_at_centre,
)
from dsmt_nnunet.inference.given_nodules import BACKGROUND_LOGIT, paste_patches
from dsmt_nnunet.inference.lung_region import LARGEST_STEP, RIM, lung_region, on_grid, tiles_that_touch
from dsmt_nnunet.inference.nodule_doubts import nodule_doubts
from dsmt_nnunet.inference.region import Scan, regions_around
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.trained_plans import check_one_training, check_trained_with
from dsmt_nnunet.inference.weights import check_no_copies, check_weights, weights_digest
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.operating_point import OPERATING_POINT_NAME, OperatingPoint
from dsmt_nnunet.predictions.results import Candidate, CasePrediction, NodulePrediction

logger = logging.getLogger(__name__)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ScanAnswer:
    """What the model says of a scan.

    Attributes:
        found: nodules, and what a search saw beside them.
        mask: (Z, Y, X) labels in the axes of the `ScanImage`.
    """

    found: Findings
    mask: Array


@dataclass(frozen=True)
class GivenPart:
    """A region of a scan whose given nodules were classified.

    Attributes:
        nodules: the nodule's number among those given -> its answer.
        logits: (K, Z, Y, X) of the preprocessed region.
        properties: with which nnU-Net puts the region back into the scan.
    """

    nodules: dict[int, NodulePrediction]
    logits: Array
    properties: dict[str, Any]


class ScanPredictor(AirPaddedPredictor):
    """A loaded model. Nothing of a scan is kept beyond the call that brought it.

    Attributes:
        plan: of the model.
        networks: one a fold.
        operating_point: of the model folder; None for thresholds of 0.5.
        operating_point_note: which one is used, and why.
        weights: digest of each network's weights.
    """

    plan: DSMTPlan
    networks: tuple[DSMTNet, ...]
    operating_point: OperatingPoint | None
    operating_point_note: str
    weights: tuple[str, ...]
    _region: Array | None = None

    def _prepare(self, model_folder: Path | None, checkpoints: Sequence[Path] = ()) -> None:
        """Takes over what nnU-Net has loaded; to be called again whenever it loads something else.

        Args:
            model_folder: where the model lies; None where that is not known.
            checkpoints: the files that were read, in the order of the networks.

        Raises:
            ValueError: a checkpoint is damaged, holds NaN, is another one's copy, or was trained with other plans.
        """
        count = len(self.list_of_parameters)
        names = (
            [str(path) for path in checkpoints] if len(checkpoints) == count else [f"network {n}" for n in range(count)]
        )
        if len(set(checkpoints)) < len(checkpoints):
            raise ValueError(f"A fold counts once, got {[path.parent.name for path in checkpoints]} (-f).")
        for path in checkpoints:
            check_archive(path)
            check_trained_with(path, self.plans_manager.plans)
        check_one_training(checkpoints)
        for name, parameters in zip(names, self.list_of_parameters, strict=True):
            try:
                check_weights(parameters)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        self.plan = DSMTPlan.from_plans(self.plans_manager.plans)
        self.weights = tuple(weights_digest(parameters) for parameters in self.list_of_parameters)
        check_no_copies(dict(zip(names, self.weights, strict=True)))
        self._take_operating_point(model_folder)
        bare: Any = self.network._orig_mod if isinstance(self.network, OptimizedModule) else self.network
        networks = []
        for parameters in self.list_of_parameters:
            network = deepcopy(bare)
            network.load_state_dict(parameters)
            networks.append(network.to(self.device).use_precision(Precision.choose(self.device)).eval())
        self.networks = tuple(networks)

    def _take_operating_point(self, model_folder: Path | None) -> None:
        """That of the model folder, if it was chosen on these networks; says what is used otherwise."""
        point = OperatingPoint.read(model_folder) if model_folder is not None else None
        self.operating_point, self.operating_point_note = point, OPERATING_POINT_NAME
        missing = (
            f"the model folder has no {OPERATING_POINT_NAME}" if model_folder is not None else "none was looked for"
        )
        misfit = missing if point is None else point.misfit(self.weights, self.plan.schema)
        if misfit is not None:
            why = misfit if point is None else f"{OPERATING_POINT_NAME} is not used: {misfit}"
            self.operating_point, self.operating_point_note = None, f"default threshold 0.5, not calibrated; {why}"
            logger.warning("Thresholds are 0.5 and probabilities are not calibrated: %s.", why)

    @property
    def classifier(self) -> NoduleClassifier:
        """Of single nodules, with the predictor's own choice of mirroring."""
        return NoduleClassifier(
            networks=self.networks,
            plan=self.plan,
            patch_size=self.configuration_manager.patch_size,
            mirror_axes=(self.allowed_mirroring_axes or ()) if self.use_mirroring else (),
            device=self.device,
            batch_size=self.configuration_manager.batch_size,
        )

    def answer(
        self, image: ScanImage, nodules: Sequence[Nodule] | None = None, covariates: Covariates | None = None
    ) -> ScanAnswer:
        """Classifies and segments the nodules of a scan.

        Args:
            image: the scan.
            nodules: with their positions and covariates; None to search the scan.
            covariates: of all nodules that a search finds.
        """
        if nodules is None:
            return self._searched(image, covariates)
        mask: Array | None = None
        found: dict[int, NodulePrediction] = {}
        for part in self.at_positions(image, nodules):
            own_mask = self.mask_of(part.logits, part.properties)
            mask = own_mask if mask is None else np.maximum(mask, own_mask)
            found |= part.nodules
        if mask is None:
            mask = np.zeros(image.array.shape[1:], dtype=np.uint8)
        return ScanAnswer(Findings(tuple(found[number] for number in range(len(nodules)))), mask)

    def _searched(self, image: ScanImage, covariates: Covariates | None) -> ScanAnswer:
        data, properties = self.preprocessed(image)
        logits, found = self.search(image, data, properties, covariates)
        return ScanAnswer(found, self.mask_of(logits.numpy(), properties))

    def preprocessed(self, image: ScanImage) -> tuple[Array, dict[str, Any]]:
        """(C, Z, Y, X) as nnU-Net preprocesses a whole scan, and the properties that lead back."""
        preprocessor = self.configuration_manager.preprocessor_class(verbose=self.verbose_preprocessing)
        data, _, properties = preprocessor.run_case_npy(
            image.array,
            None,
            dict(image.properties),
            self.plans_manager,
            self.configuration_manager,
            self.dataset_json,
        )
        return data, properties

    def mask_of(self, logits: Array, properties: dict[str, Any]) -> Array:
        """(Z, Y, X) labels in the scan, from the logits (K, Z, Y, X) of a preprocessed array."""
        mask: Array = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, self.plans_manager, self.configuration_manager, self.label_manager, properties
        )
        return mask

    @torch.inference_mode()
    def search(
        self, image: ScanImage, data: Array, properties: dict[str, Any], covariates: Covariates | None = None
    ) -> tuple[torch.Tensor, Findings]:
        """Segments a scan near its lungs and classifies what is found.

        Args:
            image: the scan.
            data: (C, Z, Y, X), the same scan preprocessed.
            properties: as the preprocessor noted them.
            covariates: of all nodules that are found.

        Returns:
            Logits (K, Z, Y, X) on the CPU, and what is found.
        """
        geometry = ArrayGeometry.from_properties(
            properties, self.plans_manager.transpose_forward, self.configuration_manager.spacing, data.shape[1:]
        )
        context = self._context(image)
        lungs = lung_region(context, self.plan.context.windows[0])
        region = None if lungs is None else on_grid(lungs, context.geometry, geometry)
        logits = self._segment(torch.from_numpy(data), region)
        check_finite_logits(logits)
        return logits, self._found(data, geometry, context, logits, covariates)

    def at_positions(self, image: ScanImage, nodules: Sequence[Nodule], together: bool = False) -> Iterator[GivenPart]:
        """Classifies given nodules and segments around them; nothing else of the scan is preprocessed.

        Args:
            image: the scan.
            nodules: with their positions.
            together: one region for all of them, however far they are apart.
        """
        points = [nodule.centre_mm for nodule in nodules]
        context = self._context(image, points)
        scan = Scan.of(image.array, image.properties, self.plans_manager, self.configuration_manager)
        for part in regions_around(scan, points, self.configuration_manager.patch_size, together=together):
            data, properties, geometry = scan.preprocessed(part.region)
            outputs, answers = [], {}
            for number in part.points:
                nodule = nodules[number]
                voxel = geometry.to_voxel(nodule.centre_mm)
                try:
                    output = self.classifier(data, geometry, context, voxel, nodule.covariates)
                except ValueError as error:
                    raise ValueError(f"model {self.name}, nodule '{nodule.nodule_id}': {error}") from error
                outputs.append(output)
                volume_mm3 = volume_at_centre(output, voxel, geometry.spacing_mm)
                answers[number] = self._told(output, nodule.nodule_id, nodule.centre_mm, volume_mm3)
            yield GivenPart(answers, paste_patches(outputs, data.shape[1:]), properties)

    def _context(self, image: ScanImage, around: Sequence[Sequence[float]] | None = None) -> ContextVolume:
        axes = self.plans_manager.transpose_forward
        return coarse_copy(image.array, image.properties, axes, self.plan.context, around=around)

    def _segment(self, data: torch.Tensor, region: Array | None = None) -> torch.Tensor:
        """The scan by sliding window, the mean over the folds.

        Args:
            data: (C, Z, Y, X) preprocessed scan.
            region: (Z, Y, X), where to look; elsewhere is background. None for everywhere.
        """
        own = copy(self)  # nnU-Net's sliding window asks its predictor for network and tiles
        own._region = region
        total: torch.Tensor | None = None
        for network in self.networks:
            own.network = network
            logits = own.predict_sliding_window_return_logits(data).to("cpu").float()
            total = logits if total is None else total + logits
        assert total is not None
        total /= len(self.networks)
        if region is not None:
            elsewhere = torch.from_numpy(~region)
            total[0, elsewhere], total[1:, elsewhere] = BACKGROUND_LOGIT, -BACKGROUND_LOGIT
        return total

    def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> Any:
        """nnU-Net's tiles, those without lung left out."""
        tiles = super()._internal_get_sliding_window_slicers(image_size)
        if self._region is None:
            return tiles
        padding = padding_to_patch(self._region.shape, self.configuration_manager.patch_size)
        rim = RIM if self.tile_step_size <= LARGEST_STEP else 0.0
        return tiles_that_touch(tiles, np.pad(self._region, padding), rim)

    def _found(
        self,
        data: Array,
        geometry: ArrayGeometry,
        context: ContextVolume,
        logits: torch.Tensor,
        covariates: Covariates | None,
    ) -> Findings:
        plan, nodules = self.plan, []
        marks = scan_marks(logits, geometry.spacing_mm, plan.min_diameter_mm, plan.max_candidates, plan.max_candidates)
        for number, mark in enumerate(marks.nodules, start=1):
            instance = mark.instance
            output = self.classifier(data, geometry, context, instance.centroid, covariates)
            told = self._told(output, str(number), geometry.to_world(instance.centroid), instance.volume_mm3)
            nodules.append(replace(told, detection_score=mark.score))
        faint = (Candidate(geometry.to_world(mark.instance.centroid), mark.score) for mark in marks.faint)
        return Findings(tuple(nodules), tuple(faint))

    def _told(self, output: NoduleOutput, nodule_id: str, centre_mm: Point, volume_mm3: float) -> NodulePrediction:
        return describe(output, nodule_id, centre_mm, volume_mm3, self.plan, self.operating_point)

    def case_prediction(self, case_id: str, image: ScanImage, found: Findings) -> CasePrediction:
        """The nodules of a case, with what made them."""
        told = (*image.doubts, *nodule_doubts(self.networks[0], self.plan, found.nodules))
        facts = self.model_facts()
        return CasePrediction(case_id, self.plan.schema, found.nodules, facts, image.checksum, told, found.candidates)

    @property
    def name(self) -> str:
        """Which model this is, in a message."""
        plans = self.plans_manager
        return f"{self.trainer_name} of {plans.dataset_name} (weights {', '.join(self.weights)})"

    def model_facts(self) -> dict[str, Any]:
        """What CASE.json tells of the model."""
        point = self.operating_point
        return {
            "trainer": self.trainer_name,
            "plans": self.plans_manager.plans_name,
            "configuration": configuration_name(self),
            "dataset": self.plans_manager.dataset_name,
            "folds": len(self.networks),
            "weights": list(self.weights),
            "mirroring": self.use_mirroring,
            "dsmt_nnunet_version": __version__,
            "operating_point": self.operating_point_note,
            "temperatures": {} if point is None else {name: task.temperature for name, task in point.tasks.items()},
            "thresholds": {} if point is None else {name: task.threshold for name, task in point.tasks.items()},
        }


def configuration_name(predictor: nnUNetPredictor) -> str | None:
    """Name of the configuration, which nnU-Net's predictor does not keep."""
    wanted = predictor.configuration_manager.configuration
    for name in predictor.plans_manager.available_configurations:
        if predictor.plans_manager.get_configuration(name).configuration == wanted:
            return str(name)
    return None
