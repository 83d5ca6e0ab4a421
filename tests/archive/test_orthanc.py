"""There and back with a real archive: Orthanc, started on free ports of the loopback. Skips where it is missing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import dsmt_nnunet as dsmt
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.sending import parse_archive, send
from dsmt_nnunet.dicom.series import ct_series, read_ct
from tests.unit.dicom.conftest import unpack
from tests.unit.dicom.made_series import write_ct

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STARTED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Orthanc:
    """Where it listens."""

    url: str
    node: str


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    pytest.importorskip("pynetdicom", reason="pip install 'dsmt-nnunet[archive]'")
    pytest.importorskip("dicomweb_client", reason="pip install 'dsmt-nnunet[archive]'")
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("Orthanc with DICOMweb is missing: apt-get install orthanc orthanc-dicomweb")
    folder, web, dicom = tmp_path_factory.mktemp("orthanc"), free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": web,
        "DicomPort": dicom,
        "DicomAet": "ARCHIVE",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait_for(server, (web, dicom), folder / "log")
            yield Orthanc(f"http://127.0.0.1:{web}/dicom-web", f"ARCHIVE@127.0.0.1:{dicom}")
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(server: subprocess.Popen[bytes], ports: tuple[int, ...], log: Path) -> None:
    end = time.monotonic() + STARTED_WITHIN_S
    for port in ports:
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Orthanc did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)


def made(folder: Path) -> None:
    """The scan of the examples as a DICOM series."""
    image, _ = dsmt.example_scan()
    hu = np.rint(sitk.GetArrayFromImage(image)).astype(np.int16)
    write_ct(folder, heights=[1.5 * index for index in range(len(hu))], hu=hu)


@pytest.mark.parametrize("source", ["made", "LIDC-IDRI-0012"])
def test_from_the_archive_and_back(
    orthanc: Orthanc, source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from dicomweb_client.api import DICOMwebClient

    if source == "made":
        made(tmp_path / "export")
        export = read_export(tmp_path / "export")
    else:
        export = unpack(request.getfixturevalue("shared_data"), source, tmp_path)
    (series,) = ct_series(export)
    slices = [item.read() for item in series.objects]
    assert len(send(slices, parse_archive(orthanc.url))) == len(slices)

    client = DICOMwebClient(orthanc.url)
    study, uid = str(slices[0].StudyInstanceUID), str(slices[0].SeriesInstanceUID)
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for number, dataset in enumerate(client.retrieve_series(study, uid)):
        dataset.save_as(fetched / str(number), enforce_file_format=True)
    ct = read_ct(ct_series(read_export(fetched))[0])
    out = predicted(ct.image, fetched, tmp_path / "out")

    for address in (orthanc.url, orthanc.node):
        assert main(["export", "dicom", str(out), "--series", str(fetched), "--send", address]) == 0
        for ending, modality in (("seg", "SEG"), ("report", "SR")):
            sent = pydicom.dcmread(out / "dicom" / f"c_{ending}.dcm")
            found = client.search_for_instances(study, search_filters={"SOPInstanceUID": str(sent.SOPInstanceUID)})
            assert [item["00080060"]["Value"] for item in found] == [[modality]]
            kept = client.retrieve_instance(study, str(sent.SeriesInstanceUID), str(sent.SOPInstanceUID))
            check(kept, tmp_path / f"{ending}.dcm", ct.image)


def predicted(image: sitk.Image, series: Path, out: Path) -> Path:
    """What a model that has learnt nothing says of a place; its mask means nothing, so that a ball stands for it."""
    middle = [size // 2 for size in image.GetSize()]
    centre = image.TransformIndexToPhysicalPoint(middle)
    model = dsmt.load_model(dsmt.example_model(), device="cpu", mirroring=False)
    prediction = model.predict(series, centre, case_id="c", force_intensities=True)
    prediction.write(out)
    ball = np.zeros(image.GetSize()[::-1], np.uint8)
    x, y, z = middle
    ball[z - 1 : z + 2, y - 2 : y + 3, x - 2 : x + 3] = 1
    mask = sitk.GetImageFromArray(ball)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(out / "c.nii.gz"))
    return out


def check(kept: Any, path: Path, image: sitk.Image) -> None:
    """Opens an object as a reader of the archive would."""
    kept.save_as(path, enforce_file_format=True)
    if kept.Modality == "SR":
        report = hd.sr.srread(path)
        assert report.content.get_volumetric_roi_measurement_groups()
        return
    segmentation = hd.seg.segread(path)
    assert segmentation.number_of_segments == 1
    frames = segmentation.pixel_array
    assert int(frames.sum()) == 75
    assert frames.shape[-2:] == image.GetSize()[1::-1]
