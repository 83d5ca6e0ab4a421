"""The report as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.page import DEFAULT_MAX_CARDS, DEFAULT_TITLE, ReportOptions
from dsmt_nnunet.report.page import write_report as _write_page

Folder = str | Path


def write_report(
    evaluations: Folder | Sequence[Folder],
    out: Folder = "report.html",
    *,
    title: str = DEFAULT_TITLE,
    images: Folder | Sequence[Folder] = (),
    labels: Folder | Sequence[Folder] = (),
    predictions: Folder | Sequence[Folder] = (),
    max_cards: int = DEFAULT_MAX_CARDS,
) -> Path:
    """Builds one self-contained HTML page, and its figures as SVG and PDF beside it.

    Args:
        evaluations: folders of `Evaluation.write` or of `dsmt evaluate`, a section each.
        out: the page.
        title: its heading.
        images: folders with CASE_0000.nii.gz; the nodules are shown.
        labels: folders with reference masks.
        predictions: folders with predicted masks, or model folders.
        max_cards: nodules shown, the largest errors first.

    Returns:
        The page.

    Raises:
        FileNotFoundError: a folder holds no evaluation.
        ValueError: a file is damaged or of another version.

    >>> import tempfile
    >>> import dsmt_nnunet as dsmt
    >>> folder = tempfile.mkdtemp()
    >>> evaluation = dsmt.evaluate([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9], n_resamples=0).write(f"{folder}/mine")
    >>> dsmt.write_report(evaluation, f"{folder}/page.html", title="Mine").name
    'page.html'
    """
    paths = [tuple(map(Path, _listed(several))) for several in (images, labels, predictions)]
    return _write_page(_listed(evaluations), out, ReportOptions(title, ImageFolders(*paths), max_cards))


def _listed(folders: Folder | Sequence[Folder]) -> Sequence[Folder]:
    return [folders] if isinstance(folders, str | Path) else folders
