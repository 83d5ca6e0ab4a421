from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from dsmt_nnunet.dicom.sending import DicomNode, DicomWeb, NotAcknowledgedError, parse_archive, send
from tests.unit.dicom.made_series import write_ct


@pytest.fixture
def slices(tmp_path: Path) -> list[Dataset]:
    write_ct(tmp_path / "ct", heights=(0, 3))
    return [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]


@dataclass
class Unwilling:
    """Refuses each object so many times."""

    refusals: int
    asked: list[str] = field(default_factory=list)

    def store(self, dataset: Dataset) -> None:
        uid = str(dataset.SOPInstanceUID)
        self.asked.append(uid)
        if self.asked.count(uid) <= self.refusals:
            raise NotAcknowledgedError(f"not {uid}")


def test_each_object_is_tried_until_it_is_acknowledged(slices: list[Dataset]) -> None:
    waits: list[float] = []
    archive = Unwilling(2)
    assert send(slices, archive, wait_s=2, sleep=waits.append) == [str(one.SOPInstanceUID) for one in slices]
    assert len(archive.asked) == 6
    assert waits == [2, 4, 2, 4]


def test_what_is_not_acknowledged_does_not_count_as_sent(slices: list[Dataset]) -> None:
    archive = Unwilling(3)
    archive.asked += [str(slices[0].SOPInstanceUID)] * 3  # the first one is taken
    with pytest.raises(OSError, match="1 of 2 objects were not acknowledged") as caught:
        send(slices, archive, sleep=lambda _: None)
    assert str(slices[1].SOPInstanceUID) in str(caught.value)
    assert str(slices[0].SOPInstanceUID) not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("archive", "An archive is https://"),
        ("TITLE@host", "An archive is https://"),
        ("TITLE@host:99999", "An archive is https://"),
        ("A_TITLE_OF_SEVENTEEN@host:104", "An archive is https://"),
        ("https://me:secret@host/dicom-web", "~/.netrc"),
    ],
)
def test_addresses_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_archive(text)
    assert "secret" not in str(caught.value)


def test_addresses() -> None:
    pytest.importorskip("pynetdicom")
    pytest.importorskip("dicomweb_client")
    assert parse_archive("PACS@10.0.0.1:104", "ME") == DicomNode("PACS", "10.0.0.1", 104, "ME")
    assert parse_archive("https://host/dicom-web/") == DicomWeb("https://host/dicom-web")


@pytest.fixture
def node() -> Iterator[tuple[int, list[int], list[str]]]:
    """A storage provider on a free port: the statuses that it answers, the last one for ever, and what it kept."""
    pynetdicom = pytest.importorskip("pynetdicom")
    statuses, kept = [0x0000], []

    def store(event: Any) -> int:
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status == 0x0000 or status >> 12 == 0xB:
            kept.append(str(event.request.AffectedSOPInstanceUID))
        return status

    entity = pynetdicom.AE(ae_title="ARCHIVE")
    entity.add_supported_context(pydicom.uid.CTImageStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, store)])
    yield server.socket.getsockname()[1], statuses, kept
    server.shutdown()


def test_a_node_keeps_what_it_acknowledges(slices: list[Dataset], node: tuple[int, list[int], list[str]]) -> None:
    port, statuses, kept = node
    statuses[:] = [0xA700, 0x0000, 0xB000]  # out of resources, success, coercion of elements
    sent = send(slices, DicomNode("ARCHIVE", "127.0.0.1", port), sleep=lambda _: None)
    assert sent == kept == [str(one.SOPInstanceUID) for one in slices]


def test_a_node_that_refuses_is_said_so(slices: list[Dataset], node: tuple[int, list[int], list[str]]) -> None:
    port, statuses, kept = node
    statuses[:] = [0xA700]
    with pytest.raises(OSError, match="it answered status A700H"):
        send(slices[:1], DicomNode("ARCHIVE", "127.0.0.1", port), attempts=2, sleep=lambda _: None)
    assert kept == []


def test_a_kind_of_object_that_a_node_does_not_take(
    slices: list[Dataset], node: tuple[int, list[int], list[str]]
) -> None:
    slices[0].SOPClassUID = slices[0].file_meta.MediaStorageSOPClassUID = pydicom.uid.SegmentationStorage
    with pytest.raises(OSError, match="takes no"):
        send(slices[:1], DicomNode("ARCHIVE", "127.0.0.1", node[0]), attempts=1)


def test_nobody_at_home(slices: list[Dataset], node: tuple[int, list[int], list[str]]) -> None:
    pytest.importorskip("dicomweb_client")
    for archive in (DicomNode("ARCHIVE", "127.0.0.1", 1), DicomWeb("http://127.0.0.1:1/dicom-web")):
        with pytest.raises(OSError, match="1 of 1 objects were not acknowledged"):
            send(slices[:1], archive, attempts=1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "did not acknowledge"),
        ({"FailedSOPSequence": 0xA900}, "failure reason A900H"),
    ],
)
def test_an_answer_without_the_uid_is_no_acknowledgement(
    slices: list[Dataset], monkeypatch: pytest.MonkeyPatch, answer: dict[str, int], message: str
) -> None:
    api = pytest.importorskip("dicomweb_client.api")
    said = Dataset()
    for name, reason in answer.items():
        item = Dataset()
        item.FailureReason = reason
        setattr(said, name, [item])
    monkeypatch.setattr(api.DICOMwebClient, "store_instances", lambda *_: said)
    with pytest.raises(NotAcknowledgedError, match=message):
        DicomWeb("http://127.0.0.1:1").store(slices[0])
