"""The page as a whole: complete, self-contained, escaped, and useful where pieces are missing."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.predicted import PredictionInputs, evaluate_predictions
from dsmt_nnunet.evaluation.task_cases import TaskOptions
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.predictions.results import CasePrediction, write_case
from dsmt_nnunet.report.cards import NO_IMAGES
from dsmt_nnunet.report.count_figures import ForestRow, forest_figure
from dsmt_nnunet.report.figure_style import FigureFolder
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.page import ReportOptions, fair_shares, write_report
from dsmt_nnunet.report.section import NO_CURVES, NOTHING_ASKED
from tests.unit.report.cohort import SCHEMA, SETTINGS, Cohort, make_cohort, page_options

TABLE = """case,truth,model,other,junior,senior,site
""" + "".join(
    f"c{i},{i % 2},{0.3 + 0.4 * (i % 2) + i / 200},{i / 40},{i % 3 == 0:d},{1 + i % 2 + i % 3},{'ab'[i > 9]}\n"
    for i in range(20)
)
RATINGS = "reader,modality,case,truth,rating\n" + "".join(
    f"R{r},{m},c{i},{i % 2},{1 + (i % 2) * (1 + r) + (i * (r + 2) + (m == 'CT')) % 3}\n"
    for r in range(2)
    for m in ("CT", "MR")
    for i in range(12)
)


class _Elements(HTMLParser):
    """Every start tag with its attributes, and the words outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _elements(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    return _Elements(page.read_text(encoding="utf-8")).tags


def test_page_asks_the_network_for_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for tag, attributes in _elements(page):
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, name, target)
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_unique_and_references_resolve(page: Path) -> None:
    tags = _elements(page)
    ids = Counter(attributes["id"] for _, attributes in tags if attributes.get("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in tags:
        for name in ("href", "xlink:href"):
            target = attributes.get(name) or ""
            assert not target.startswith("#") or target[1:] in ids, target
        for name in ("aria-labelledby",):
            assert attributes.get(name) is None or attributes[name] in ids


def test_pictures_have_words_and_controls_have_names(page: Path) -> None:
    tags = _elements(page)
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    images = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(images) >= 9
    assert all(attributes.get("aria-label") for attributes in images)


def test_names_are_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>invasive</b>" not in text
    assert "&lt;b&gt;invasive&lt;/b&gt;" in text


def test_notice_stands_on_the_page(page: Path) -> None:
    assert page.read_text(encoding="utf-8").count(NOT_A_MEDICAL_DEVICE) >= 3


def test_every_nodule_has_a_card_with_slices(page: Path) -> None:
    tags = _elements(page)
    assert sum(tag == "article" for tag, _ in tags) == 13
    stacks = re.findall(r'<script type="application/json" class="stack">(.*?)</script>', page.read_text("utf-8"))
    first = json.loads(stacks[0])
    assert len(stacks) == 13
    assert first["stack"].startswith("data:image/webp;base64,")
    assert set(first["contours"]) == {"truth", "predicted"}
    assert all(len(paths) == first["slices"] for paths in first["contours"].values())


def test_figures_lie_beside_the_page(page: Path) -> None:
    folder = page.with_name("page_figures")
    names = {path.stem.removeprefix("1-metrics-invasiveness-") for path in folder.glob("*.svg")}
    expected = {"roc", "precision-recall", "calibration", "decision-curve", "confusion", "distribution", "subgroups"}
    assert expected <= names
    assert {path.stem for path in folder.glob("*.svg")} == {path.stem for path in folder.glob("*.pdf")}
    assert "<metadata>" not in next(folder.glob("*roc.svg")).read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_figures")
def test_same_inputs_give_the_same_page(cohort: Cohort, tmp_path: Path) -> None:
    options = replace(page_options(cohort), max_cards=2)
    first, second = (write_report([cohort.metrics], tmp_path / name, options) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_same_figure_gives_the_same_files(tmp_path: Path) -> None:
    rows = [ForestRow("All", ((0.8, (0.7, 0.9)),), "n 10")]
    for name in ("a", "b"):
        FigureFolder(tmp_path / name).add("forest", "", "", lambda: forest_figure(rows, ["AUC"], "AUC"))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_without_images_the_page_says_what_to_give(cohort: Cohort, tmp_path: Path) -> None:
    page = write_report([cohort.metrics], tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert NO_IMAGES in text
    assert "case_08" in text
    assert "<img" not in text
    assert "<dialog" not in text


def test_without_curves_the_page_says_what_to_do(cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    shutil.copytree(cohort.metrics, folder)
    (folder / "curves.json").unlink()
    (folder / "joined.csv").unlink()
    text = write_report([folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert NO_CURVES.replace("'", "&#39;") in text
    assert "ROC curve<" not in text
    assert "Confusion matrix" in text
    assert "<article" not in text


def test_table_and_reader_study_are_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    table, readers, page = tmp_path / "scores", tmp_path / "readers", tmp_path / "report.html"
    command = f"evaluate table {tmp_path / 'table.csv'} --truth truth --score model --score other --reader junior "
    command += f"--reader senior --group site --bootstrap 100 --margin 0.3 --partial-auc 0.5 -o {table}"
    assert main(command.split()) == 0
    assert main(f"evaluate readers {tmp_path / 'ratings.csv'} -o {readers}".split()) == 0
    assert main(f"report {table} {readers} -o {page}".split()) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2 id=[^>]*>(\w+) ", text) == ["scores", "readers"]
    for words in (
        "paired DeLong",
        "McNemar",
        "unpaired DeLong",
        "Model against each reader",
        "random readers and cases",
        "Non-inferiority",
        "Does it depend on the subgroup?",
        "Agreement of the readers",
        "Mean sensitivity at specificities of 0.5 to 1",
        "miscalibration - discrimination",
    ):
        assert words in text


def test_error_names_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 2
    assert "holds no metrics.json" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text('{"schema_version": 99, "kind": "table"}', encoding="utf-8")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 2
    assert "was written by a later release (schema_version 99" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--images", str(tmp_path / "none")]) == 2
    assert "--images" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_computer_made_data_are_said_to_be_so(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "imagesTs").mkdir()
    content = {"phantom": {"auc_ceilings": {"full": 0.94, "local_and_signs": 0.834}}}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    options = ReportOptions(folders=ImageFolders((tmp_path / "imagesTs",)), max_cards=1)
    text = write_report([cohort.metrics], tmp_path / "page.html", options).read_text(encoding="utf-8")
    assert "phantoms, not patients" in text
    assert "0.940" in text
    assert "This case has no image" in text


@pytest.mark.parametrize(
    ("wanted", "total", "shares"),
    [([5, 5], 100, [5, 5]), ([90, 10], 50, [40, 10]), ([90, 80], 51, [26, 25]), ([], 9, [])],
)
def test_cards_are_shared_fairly(wanted: list[int], total: int, shares: list[int]) -> None:
    assert fair_shares(wanted, total) == shares


@pytest.mark.parametrize("column", ["invasiveness", "cohort"])
def test_a_task_without_labels_and_a_group_of_any_name_have_a_page(tmp_path: Path, column: str) -> None:
    own = make_cohort(tmp_path / "cohort", n_cases=6)
    table = read_csv(own.truth)
    cells = {"invasiveness": "", "cohort": r"$\frac{a}$ $x_{"}
    rows = [[cells[column] if name == column else row.get(name) for name in table.columns] for row in table.rows]
    write_rows(own.truth, [table.columns, *rows])
    options = TaskOptions(groups=(GroupColumn("cohort"),), cluster="patient_id")
    evaluate_predictions(PredictionInputs(own.predictions, own.truth, options=options), tmp_path / "out", SETTINGS)
    text = write_report([tmp_path / "out"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert (r"$\frac{a}$" in text) == (column == "cohort")


@pytest.mark.parametrize("ending", [".pdf", ".svg", ".html"])
def test_a_full_disk_is_told_and_leaves_no_half_of_a_file(
    cohort: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    ending: str,
) -> None:
    if ending == ".html":
        request.getfixturevalue("no_figures")
    write = Path.write_bytes

    def on_a_full_disk(path: Path, content: bytes) -> int:
        if path.suffix != ending:
            return write(path, content)
        write(path, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", on_a_full_disk)
    assert main(["report", str(cohort.metrics), "-o", str(tmp_path / "page.html")]) == 2
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert f"{ending}'" in told
    assert not list(tmp_path.glob(f"page*/*{ending}")) + list(tmp_path.glob(f"*{ending}"))


@pytest.mark.parametrize("change", [lambda text: text.rsplit("\n", 6)[0], lambda text: text.replace("0.95", "0.05")])
def test_nodules_of_another_evaluation_are_refused(
    cohort: Cohort, tmp_path: Path, change: Callable[[str], str]
) -> None:
    folder = shutil.copytree(cohort.metrics, tmp_path / "metrics")
    table = folder / "joined.csv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=r"joined\.csv holds other answers to invasiveness"):
        write_report([folder], tmp_path / "page.html")


@pytest.mark.parametrize("name", ["metrics.json", "joined.csv", "page.pdf", "page"])
def test_a_page_takes_the_place_of_no_other_file(cohort: Cohort, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(cohort.metrics, tmp_path / "metrics")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=f"{name} is no name of a page"):
        write_report([folder], folder / name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_scans_without_a_nodule_have_no_figures_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "pred").mkdir()
    write_case(CasePrediction("a", SCHEMA, ()), tmp_path / "pred" / "a.json")
    (tmp_path / "truth.csv").write_text("case_id,nodule_id,x_mm,y_mm,z_mm,invasiveness,texture\na,none,,,,,\n")
    evaluate_predictions(PredictionInputs(tmp_path / "pred", tmp_path / "truth.csv"), tmp_path / "metrics", SETTINGS)
    page = write_report([tmp_path / "metrics"], tmp_path / "page.html", ReportOptions("Nothing")).read_text("utf-8")
    assert "1 scan with 0 nodules: 0 found, 0 missed" in page
    assert page.count(NOTHING_ASKED) == len(SCHEMA.tasks)
    for words in ("Confusion matrix", "Brier score", "threshold by fold"):
        assert words.casefold() not in page.casefold()
