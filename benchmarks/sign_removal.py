"""Does a trained model's score of a sign fall when the sign is taken out of the image?

Phantoms that show a sign are rendered again without it; nothing else in them changes. Prints one line a sign and group,
and keeps the table in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dsmt_nnunet import __version__
from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.dataset_conversion.phantom.cohort import SIGNS, PhantomCase, draw_cohort
from dsmt_nnunet.dataset_conversion.phantom.render import RenderedCase, render_case
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.predictor import DSMTPredictor

RESULTS = Path(__file__).parent / "results" / "sign_removal.md"
_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Removal:
    """One nodule and one of its signs.

    Attributes:
        sign: what was taken out.
        group: internal or external.
        shown, removed: log-odds of the sign with it and without it.
        other_fall: by how much the log-odds of the other sign fall meanwhile; near 0 if the model tells them apart.
    """

    sign: str
    group: str
    shown: float
    removed: float
    other_fall: float

    @property
    def fall(self) -> float:
        return self.shown - self.removed


def removals(predictor: DSMTPredictor, case: PhantomCase) -> Iterator[Removal]:
    """Takes each sign out of each nodule that shows it (and out of the scan's other nodules with it)."""
    if not any(getattr(nodule, sign) for nodule in case.nodules for sign in SIGNS):
        return
    drawn = render_case(case)
    before = log_odds(predictor, drawn, drawn)
    for sign in SIGNS:
        showing = [number for number, nodule in enumerate(case.nodules) if getattr(nodule, sign)]
        if not showing:
            continue
        without = render_case(case, bubble=False) if sign == "bubble_lucency" else render_case(case, retraction=False)
        after = log_odds(predictor, without, drawn)
        for number in showing:
            other = next(name for name in SIGNS if name != sign)
            other_fall = before[number][other] - after[number][other]
            yield Removal(sign, case.cohort, before[number][sign], after[number][sign], other_fall)


def log_odds(predictor: DSMTPredictor, rendered: RenderedCase, places: RenderedCase) -> list[dict[str, float]]:
    """Log-odds of every sign at the nodules of `places`, the mean over the folds."""
    manager, configuration = predictor.plans_manager, predictor.configuration_manager
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"case_0000{_ENDING}")]
        sitk.WriteImage(rendered.image(), files[0])
        preprocessor = configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(files, None, manager, configuration, predictor.dataset_json)
        image, image_properties = manager.image_reader_writer_class().read_images(files)
    geometry = ArrayGeometry.from_properties(
        properties, manager.transpose_forward, configuration.spacing, data.shape[1:]
    )
    context = coarse_copy(image, image_properties, manager.transpose_forward, predictor.plan.context)
    answers = []
    for number in range(1, int(places.instances.max()) + 1):
        voxel = geometry.to_voxel(places.centre_mm(number))
        folds = predictor.classifier(data, geometry, context, voxel).fold_probabilities
        answers.append({sign: float(np.mean(_logit(folds[sign][:, 1]))) for sign in SIGNS})
    return answers


def table(found: list[Removal]) -> str:
    """Share of nodules whose score falls, and by how much."""
    groups: dict[tuple[str, str], list[Removal]] = defaultdict(list)
    for removal in found:
        groups[removal.sign, removal.group].append(removal)
    lines = [
        "| sign | cohort | nodules | falls in | mean fall | median | with it | without | fall of the other sign |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (sign, group), items in sorted(groups.items()):
        falls = np.array([item.fall for item in items])
        shown, removed, other = (
            np.mean([getattr(item, name) for item in items]) for name in ("shown", "removed", "other_fall")
        )
        lines.append(
            f"| {sign} | {group} | {len(items)} | {np.count_nonzero(falls > 0)} ({np.mean(falls > 0):.0%}) | "
            f"{falls.mean():.2f} | {np.median(falls):.2f} | {shown:+.2f} | {removed:+.2f} | {other:.2f} |"
        )
    return "\n".join(lines)


def _logit(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability.astype(float), 1e-7, 1 - 1e-7)
    logits: np.ndarray = np.log(clipped) - np.log1p(-clipped)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sign_removal", description=__doc__)
    parser.add_argument("model", type=Path, help="model folder, trained on phantoms of another group or seed")
    parser.add_argument("-f", dest="folds", nargs="+", type=int, default=None, help="default: all that are trained")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=24, help="unseen cases of the protocols of the training")
    parser.add_argument("--external-cases", type=int, default=12, help="unseen cases of another protocol")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = nnUNetPredictor(device=device, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(args.model), args.folds, "checkpoint_final.pth")
    dsmt = DSMTPredictor.adopt(predictor, args.model)
    cases = draw_cohort(args.seed, args.cases, "test") + draw_cohort(args.seed, args.external_cases, "external")
    found = [removal for case in cases for removal in removals(dsmt, case)]
    text = (
        f"# Signs removed from unseen phantoms\n\ndsmt-nnunet {__version__}, {args.model.name}, {args.cases} internal "
        f"and {args.external_cases} external cases; log-odds.\n\n{table(found)}\n"
    )
    print(text)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
