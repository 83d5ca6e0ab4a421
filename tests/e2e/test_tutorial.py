"""The tutorial, command by command as its page has them, on an export that a hospital might have made."""

from __future__ import annotations

import gzip
import io
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
import SimpleITK as sitk

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.predictions.results import read_folder
from tests.e2e.conftest import Workspace
from tests.e2e.made_export import PATIENTS, SCANS, SECRETS, write_export, write_scan, write_workbook
from tests.unit.dicom.conftest import unpack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
COMMANDS = re.findall(r"^dsmt .+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
NEW_PATIENT = "0079999"
SMALL = (
    (r"^(dsmt plan .*)", r"\1 -pl DSMTPlannerXS -np 1"),
    (r" -tr DSMTTrainer\b", ""),
    (r" -p DSMTPlans\b", " -tr DSMTTrainerShort -p DSMTPlansXS"),
    (r"DSMTTrainer__DSMTPlans__", "DSMTTrainerShort__DSMTPlansXS__"),
    (r" -f 0 1 2 3 4\b", " -f 0"),
    (r" --send \S+", ""),
    (r" --case CASE\b", f" --case {NEW_PATIENT}"),
)
"""What a test changes of the page's commands: the smallest preset, a short training of one fold, no archive."""
UNKNOWN_TERM = '    # Not sorted; move each to a class or to unknown:\n    #   - "unklar" # 1 rows\n'
KEPT_APART = ("EXPORT", "NEW_EXPORT", "out/dicom", "labels.xlsx", "labels.yaml", "names.csv", "names_sources")
"""What a hospital has or keeps to itself, and what goes back into the patient's study."""


def as_here(command: str) -> str:
    """A command of the page, as a test of a minute runs it."""
    for pattern, here in SMALL:
        command = re.sub(pattern, here, command)
    return command


def commands_of(page: list[str]) -> Iterator[str]:
    """Those that are run, in their order: all but the study, which is many trainings."""
    yield from (as_here(command) for command in page if shlex.split(command)[1] != "study")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Where a stranger went from the first command to the last; `printed` beside them holds what they said."""
    space = Workspace(tmp_path_factory.mktemp("walk"))
    write_export(space.base / "EXPORT")
    write_scan(space.base / "NEW_EXPORT", NEW_PATIENT, nodules=1)
    write_workbook(space.base / "labels.xlsx")
    with (space.base / "printed").open("w", encoding="utf-8") as printed:
        for command in commands_of(COMMANDS):
            elsewhere = {"nnUNet_results": str(space.base / "installed")} if " install " in command else {}
            if "--mapping labels.yaml" in command:
                sort_terms(space.base / "labels.yaml")
            print(command, space.run(command, **elsewhere), sep="\n", file=printed)
    yield space
    space.close()


def sort_terms(mapping: Path) -> None:
    """What the page tells a person to do."""
    text = mapping.read_text(encoding="utf-8")
    if UNKNOWN_TERM in text:
        before, after = text.split(UNKNOWN_TERM)
        before = before.removesuffix("    unknown: [] # and 0 empty cells\n")
        mapping.write_text(f'{before}    unknown: ["unklar"]\n{after}', encoding="utf-8")


def test_export_and_workbook_became_a_data_set(walked: Workspace) -> None:
    raw = walked.base / "nnUNet_raw" / "Dataset501_Nodules"
    rows = read_csv(raw / "nodules.csv").rows
    assert [row.get("invasiveness") for row in rows] == ["non-invasive", "", "invasive", "non-invasive", "invasive"]
    assert [row.get("cea") for row in rows] == ["3.5", "3.5", "1.25", "", "0.8"]
    names = {row.get("patient_id"): row.get("pseudonym") for row in read_csv(walked.base / "names.csv").rows}
    assert tuple(names) == PATIENTS
    assert {row.get("case_id") for row in rows} == {*names.values()}


def test_a_new_patient_is_predicted_and_goes_back_into_the_study(walked: Workspace) -> None:
    out = walked.base / "out"
    source = pydicom.dcmread(next(path for path in (walked.base / "NEW_EXPORT").iterdir() if path.name != "structures"))
    report = hd.sr.srread(out / "dicom" / f"{NEW_PATIENT}_report.dcm")
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 1
    segmentation = hd.seg.segread(out / "dicom" / f"{NEW_PATIENT}_seg.dcm")
    for written in (report, segmentation):
        for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID"):
            assert written[keyword].value == source[keyword].value
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{NEW_PATIENT}.nii.gz")))
    assert segmentation.pixel_array.sum() == (mask > 0).sum()


def test_a_published_export_is_predicted_and_goes_back_into_its_study(walked: Workspace, shared_data: Path) -> None:
    """A chest of a planning system, with three tumours among the organs of its structure set."""
    unpack(shared_data, "LUNG1-003", walked.base / "PUBLISHED")
    for command in COMMANDS:
        if "NEW_EXPORT" in command:
            own = (
                command.replace("NEW_EXPORT", "PUBLISHED").replace("CASE", "LUNG1-003").replace(" out ", " published ")
            )
            walked.run(as_here(own))
    out = walked.base / "published"
    (case,) = read_folder(out)
    assert [nodule.nodule_id for nodule in case.nodules] == ["GTV-1", "GTV-2", "GTV-3"]
    assert hd.sr.srread(out / "dicom" / "LUNG1-003_report.dcm").StudyInstanceUID
    segmentation = hd.seg.segread(out / "dicom" / "LUNG1-003_seg.dcm")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "LUNG1-003.nii.gz")))
    assert mask.shape == (107, 512, 512)
    assert segmentation.pixel_array.sum() == (mask > 0).sum()


def test_the_page_tells_where_a_nodule_is_in_the_archive(walked: Workspace) -> None:
    page = (walked.base / "report.html").read_text(encoding="utf-8")
    series = {path.name: path.read_text() for path in (walked.base / "names_sources").iterdir()}
    assert len(series) == len(PATIENTS)
    assert page.count("<svg") > 5
    assert "contour: no mask of this case" not in page
    shown = set(re.findall(r"1\.2\.826\.0\.1\.3680043\.10\.1\.4\.[\d.]+", page))
    assert shown
    assert all(any(uid in text for text in series.values()) for uid in shown)


def test_the_model_is_whole_on_another_machine(walked: Workspace) -> None:
    (folder,) = (walked.base / "installed").glob("*/*")
    assert {path.name for path in folder.iterdir()} >= {"model_card.md", "operating_point.json", "plans.json", "fold_0"}
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "### invasiveness" in card
    assert "| 2 of fewer than 5 patients | 5 | |" in card, "centres are counted, and so small ones not named"


def test_nothing_that_was_written_tells_who_the_patients_are(walked: Workspace) -> None:
    """In nnU-Net's folders, logs, predictions, the model's zip and the page; text, gzip and zip members."""
    words = {word for name in SECRETS.values() for word in re.split(r"[\^ ]", name) if len(word) > 5}
    tells = {word.lower().encode() for word in {*words, "1931-04-07", "07.04.1931"}}
    own = {name.lower().encode() for name in (*PATIENTS, *SCANS)}
    seen = 0
    for path in sorted(walked.base.rglob("*")):
        inside = path.relative_to(walked.base).as_posix()
        if path.is_file() and not inside.startswith(KEPT_APART):
            printed = inside in ("printed", "output.txt")  # they print a row of the table, with the hospital's own id
            ids = set() if inside.startswith("out/") or printed else own
            for where, content in [(inside, inside.encode()), *unpacked(inside, path.read_bytes())]:
                seen += 1
                found = [word for word in tells | ids if word in content.lower()]
                assert not found, f"{where} holds {found}"
    assert seen > 100


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is packed in it: gzip, and members of zip files in zip files (.npz, .pth)."""
    yield name, content
    if name.endswith(".gz"):
        yield name, gzip.decompress(content)
    elif zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield name, member.encode()
                yield from unpacked(f"{name}/{member}", archive.read(member))
