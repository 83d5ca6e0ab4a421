from __future__ import annotations

from pathlib import Path

import pytest
from openpyxl import Workbook

from dsmt_nnunet.csv_table import CsvTable, read_table
from dsmt_nnunet.dataset_conversion.mapping import DEFAULT_MAPPING, GRADED_MAPPING, TableMapping
from dsmt_nnunet.dataset_conversion.mapping_file import read_mapping
from dsmt_nnunet.dataset_conversion.rows import parse_cases
from dsmt_nnunet.dataset_conversion.suggestion import Suggestion, suggest
from dsmt_nnunet.tasks import TaskKind

HEADER = (
    *("患者ID", "姓名", "病理", "直径(mm)", "胸膜凹陷征", "年龄", "CEA (ng/mL)", "Geschlecht", "Lage", "备注"),
    *("pack-years", "structure"),
)
ROWS = (
    ("007", "张三", "原位腺癌", 11.5, "有", 63, "3,2", "w", "RUL", "复查", 20, "GTV"),
    ("008", "李四", "ＭＩＡ", 9, "无", "不详", 4.1, "m", "左肺下叶", "", 20, "GTV"),
    ("009", "王五", "浸润性腺癌", 16, "", 58, "<0.5", "w", "RML", "", 20, "GTV"),
    ("010", "赵六", "Adenokarzinom in situ", 8, "無", 70, "", "m", "RUL", "", 20, "GTV"),
    ("011", "孙七", "鳞癌", 21, "有", 66, 2.0, "m", "hilus", "", 20, "GTV"),
    ("012", "周八", "不明", 12, "?", 66, 2.0, "m", "", "", 20, "GTV"),
)


def physicians_table(tmp_path: Path) -> CsvTable:
    """As a physician keeps it: a second sheet, a title above, several languages."""
    book = Workbook()
    assert book.active is not None
    book.active.append(["notes"])
    sheet = book.create_sheet("2024")
    sheet.append(["Nodules of our department"])
    for row in (HEADER, *ROWS):
        sheet.append(row)
    book.save(tmp_path / "labels.xlsx")
    return read_table(tmp_path / "labels.xlsx", "2024")


def suggested(tmp_path: Path, grades: bool = False) -> tuple[Suggestion, TableMapping]:
    found = suggest(physicians_table(tmp_path), grades)
    (tmp_path / "mapping.yaml").write_text(found.text, encoding="utf-8")
    return found, read_mapping(tmp_path / "mapping.yaml")


def test_what_a_table_tells_is_not_asked(tmp_path: Path) -> None:
    found, mapping = suggested(tmp_path)
    assert mapping.columns == {"patient_id": "患者ID", "diameter_mm": "直径(mm)", "structure": "structure"}
    assert [(task.name, task.column) for task in mapping.tasks] == [
        ("invasiveness", "病理"),
        ("pleural_retraction", "胸膜凹陷征"),
    ]
    assert [mapping.tasks[0].label(row[2]) for row in ROWS[:4]] == ["non-invasive"] * 2 + ["invasive", "non-invasive"]
    assert [mapping.tasks[1].label(str(row[4])) for row in ROWS] == [
        "present",
        "absent",
        None,
        "absent",
        "present",
        None,
    ]
    told = {own.name: own for own in mapping.covariates}
    assert list(told) == ["age", "cea", "sex", "lobe"]
    assert (told["age"].unit, told["cea"].unit) == ("years", "ng/mL")
    assert told["age"].value("不详") is None
    assert [told["lobe"].value(row[8]) for row in ROWS[:3]] == ["upper", "lower", "middle"]
    assert told["sex"].value("w") == "female"
    assert "left out, it tells who a patient is: column '姓名'" in found.lines
    assert "not used: column '备注', which holds 复查 (1)" in found.lines
    assert "not used: column 'pack-years', which holds 20 (6)" in found.lines, "one value teaches nothing"
    assert "structure: column 'structure'" in found.lines
    assert "# not used: column '备注'\n" in found.text, "the file may be handed on, and a remark may name a patient"


def test_terms_are_counted_and_what_is_not_known_is_left_to_a_person(tmp_path: Path) -> None:
    found, mapping = suggested(tmp_path)
    assert found.unsorted == ("鳞癌", "hilus")
    assert '        - "ＭＩＡ" # 1 rows' in found.text
    assert '    #   - "鳞癌" # 1 rows' in found.text
    assert '    # No numbers; correct the cells, or move them to unknown: "<0.5"' in found.text
    _, problems = parse_cases(physicians_table(tmp_path), mapping)
    texts = [str(problem) for problem in problems]
    assert len(texts) == 3
    assert all(any(term in text for text in texts) for term in ("鳞癌", "hilus", "<0.5"))


def test_grades_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    _, mapping = suggested(tmp_path, grades=True)
    task = mapping.tasks[0]
    assert task.task.kind is TaskKind.ORDINAL
    assert [task.label(row[2]) for row in ROWS[:4]] == ["AIS", "MIA", "IAC", "AIS"]
    assert task.task.as_binary().classes == ("non-invasive", "invasive")


def test_nothing_to_classify_is_an_error_that_shows_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,grade\na,low\nb,low\nc,high\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"nothing to\s+classify.*\n.*\n  grade: low \(2\), high \(1\)"):
        suggest(read_table(path))


@pytest.mark.parametrize("header", ["Größe (mm)", "Tumorgröße [mm]", "Durchmesser", "Max. diameter", "最大径"])
def test_headers_of_diameters(tmp_path: Path, header: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"id;{header};Histologie\na;4,5;AIS\n", encoding="utf-8")
    assert f"diameter_mm: column '{header}'" in suggest(read_table(path)).lines


@pytest.mark.parametrize(
    ("term", "grade"),
    [
        ("atypical adenomatous hyperplasia", "AAH"),
        ("不典型腺瘤样增生", "AAH"),
        ("異型腺腫様過形成", "AAH"),
        ("In-situ-Adenokarzinom", "AIS"),
        ("In situ Adenokarzinom", "AIS"),
        ("上皮内腺癌", "AIS"),
        ("微浸润性腺癌", "MIA"),
        ("微少浸潤性腺癌", "MIA"),
        ("minimal-invasives Adenokarzinom", "MIA"),
        ("Acinar predominant adenocarcinoma", "IAC"),
        ("微乳头型腺癌", "IAC"),
        ("invasives muzinöses Adenokarzinom", "IAC"),
        ("充実型腺癌", "IAC"),
        ("invasive", "IAC"),
        ("k. A.", None),
    ],
)
def test_terms_of_four_languages(term: str, grade: str | None) -> None:
    assert GRADED_MAPPING.tasks[0].label(term) == grade
    answer = None if grade is None else "invasive" if grade == "IAC" else "non-invasive"
    assert DEFAULT_MAPPING.tasks[0].label(term) == answer
    assert GRADED_MAPPING.tasks[0].task.binary_label(grade) == answer


def test_a_plain_non_invasive_is_no_grade() -> None:
    with pytest.raises(ValueError, match="is not a known term"):
        GRADED_MAPPING.tasks[0].label("non-invasive")


def test_words_of_a_german_department(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "Pat.-ID;Patient;Herd-Nr.;Herd;Histologie;Luftbläschen;Rauchen\n"
        "007;Müller, Jürgen;1;GTV-1;IAC;ja;Ex-Raucher\n008;Schulz, Käthe;1;Herd links;AIS;nein;Nichtraucher\n"
        "009;Nowak, Ewa;1;GTV;unbekannt;ja;Raucher\n",
        encoding="utf-8",
    )
    found = suggest(read_table(tmp_path / "t.csv"))
    assert found.unsorted == ()
    assert "structure: column 'Herd'" in found.lines
    assert "nodule_id: column 'Herd-Nr.'" in found.lines
    assert "task bubble_lucency: column 'Luftbläschen': 1 absent, 2 present, 0 not known" in found.lines
    assert "covariate smoking: column 'Rauchen': 1 never, 1 former, 1 current, 0 not known" in found.lines
    assert "left out, it tells who a patient is: column 'Patient'" in found.lines
    assert "Müller" not in found.text


def test_numbers_of_nodules_are_no_names_of_contours(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Pat.-ID;Herd;Histologie\n007;1;IAC\n007;2;AIS\n", encoding="utf-8")
    assert "nodule_id: column 'Herd'" in suggest(read_table(tmp_path / "t.csv")).lines
