"""Where a nodule is: in the archive, in the volume, and in the list of all."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dicom.scan_source import write_sources
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.page import ReportOptions, write_report
from dsmt_nnunet.report.places import Place, place_in_source, place_in_volume, stack_places
from tests.unit.report.cohort import SIZE, Cohort, page_options, scan_source


def test_place_in_the_archive() -> None:
    place = place_in_source(scan_source(), (5.0, 5.0, 31.1))
    assert place == Place(16, 32, -968.0, "4", "1.2.3.4.16")
    assert place.words == "series 4, image 16 of 32, table position −968.0 mm"
    assert place_in_source(scan_source(), (5.0, 5.0, 70.0)) is None
    unnumbered = replace(scan_source(), numbers=(None,) * SIZE, series_number="")
    assert place_in_source(unnumbered, (0.0, 0.0, 0.0)) == Place(None, 32, -1000.0, "", "1.2.3.4.0")


def test_place_in_a_volume_whose_third_axis_falls() -> None:
    image = sitk.GetImageFromArray(np.zeros((10, 4, 4), dtype=np.int16))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    place = place_in_volume(image, (1.0, 1.0, -6.2))
    assert place is not None
    assert place.words == "slice 7 of 10 of the volume, z −6.2 mm"
    assert place_in_volume(image, (1.0, 1.0, 1.0)) is None


def test_slices_of_the_stack_run_from_head_to_feet() -> None:
    image = sitk.GetImageFromArray(np.zeros((SIZE, 32, 32), dtype=np.int16))
    image.SetSpacing((2.0, 2.0, 2.0))
    words = stack_places(image, scan_source(), (30.0, 30.0, 30.0), 48.0)
    numbers = [int(found[1]) for text in words if (found := re.search(r"image (\d+)", text))]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (5, 29)
    edge = stack_places(image, None, (30.0, 30.0, 0.0), 48.0)
    assert edge[24:] == ["slice 1 of 32 of the volume, z −0.5 mm", *[""] * 23]
    assert all(edge[:24])


@pytest.mark.usefixtures("no_figures")
def test_cards_beyond_the_limit_are_in_the_list(cohort: Cohort, tmp_path: Path) -> None:
    source = scan_source()
    write_sources(tmp_path / "kept", {"case_05": replace(source, series_number="7")})
    folders = replace(page_options(cohort).folders, sources=(tmp_path / "kept",))
    page = write_report([cohort.metrics], tmp_path / "page.html", ReportOptions(folders=folders, max_cards=2))
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert text.count("<article") == 2
    rows = re.findall(r"<tr><th scope=\"row\">(case_\d+)</th>(.*?)</tr>", text)
    assert len(rows) == 13
    cells = {case: re.findall(r"<td>(.*?)</td>", row) for case, row in rows}
    assert cells["case_05"][2:6] == ["7", "17", "-970.0", "1.2.3.4.15"]
    assert cells["case_08"][2:6] == ["4", "17", "-970.0", "1.2.3.4.15"]
    assert cells["case_03"][2:6] == ["", "16", "30.0", ""]
    assert cells["case_01"][2:6] == [""] * 4
    stack = json.loads(re.findall(r'class="stack">(.*?)</script>', text)[0])
    assert len(stack["places"]) == stack["slices"]


def test_a_folder_of_sources_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--sources .* is not a folder"):
        ImageFolders(sources=(tmp_path / "none",))
