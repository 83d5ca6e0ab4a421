"""Nodules of preprocessed cases at their known positions: what training's validation and a study have to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.inference.classifier import NoduleClassifier, NoduleOutput, describe, volume_at_centre
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.results import CasePrediction


@dataclass(frozen=True)
class PreprocessedCases:
    """Cases as they lie on disk.

    Attributes:
        dataset: nnU-Net's data set of them.
        store: their coarse copies.
        table: their nodules.
    """

    dataset: Any
    store: ContextStore
    table: NoduleTable

    def classify(
        self, classifier: NoduleClassifier, case_ids: Sequence[str], model: Mapping[str, Any]
    ) -> Iterator[tuple[CasePrediction, list[NoduleOutput]]]:
        """Answers for each case, with the probabilities as the network gives them, not calibrated.

        Args:
            classifier: the networks.
            case_ids: whose nodules are asked about.
            model: what is said of the model in the predictions.

        Yields:
            The prediction, and the outputs of its nodules.
        """
        nodules_of = self.table.by_case()
        for case_id in sorted(case_ids):
            context, geometry = self.store.load(case_id), self.store.local_geometry(case_id)
            data = self.dataset.load_case(case_id)[0]
            found, outputs = [], []
            for nodule in nodules_of.get(case_id, ()):
                voxel = geometry.to_voxel(nodule.centre_mm)
                output = classifier(data, geometry, context, voxel, nodule.covariates)
                volume_mm3 = volume_at_centre(output, voxel, geometry.spacing_mm)
                found.append(describe(output, nodule.nodule_id, nodule.centre_mm, volume_mm3, classifier.plan, None))
                outputs.append(output)
            yield CasePrediction(case_id, classifier.plan.schema, tuple(found), model), outputs
