"""Handing objects to an archive: by STOW-RS (DICOM PS3.18, 10.5) or C-STORE (PS3.4, annex B).

Needs `pip install 'dsmt-nnunet[archive]'`. Nothing counts as sent that the archive did not acknowledge by its UID.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

ATTEMPTS = 3
WAIT_S = 2.0
"""Before the second attempt; twice as long before each further one."""
TIMEOUT_S = 60.0
_NODE = re.compile(r"(?P<title>[^@\s:/]{1,16})@(?P<host>[^@\s:/]+):(?P<port>[0-9]{1,5})")
_OWN_TITLE = "DSMT"


class Archive(Protocol):
    """Where objects are sent."""

    def store(self, dataset: Dataset) -> None:
        """Sends one object.

        Raises:
            OSError: it was not acknowledged.
        """


class NotAcknowledgedError(OSError):
    """The archive was reached, and did not say that it keeps the object."""


@dataclass(frozen=True)
class DicomWeb:
    """An archive with DICOMweb; who asks is told by ~/.netrc.

    Attributes:
        url: of its DICOMweb services, to which /studies is added.
    """

    url: str

    def store(self, dataset: Dataset) -> None:
        """See `Archive`."""
        import requests
        from dicomweb_client.api import DICOMwebClient

        uid = str(dataset.SOPInstanceUID)
        client = DICOMwebClient(self.url, timeout=TIMEOUT_S)
        client.set_http_retry_params(retry=False)  # `send` tries again
        try:
            answer = client.store_instances([dataset])
        except (requests.RequestException, OSError) as error:
            raise OSError(f"{self.url}: {error}") from error
        kept = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence", [])}
        if uid not in kept:
            reasons = ", ".join(
                f"failure reason {item.get('FailureReason', 0):04X}H" for item in answer.get("FailedSOPSequence", [])
            )
            raise NotAcknowledgedError(f"{self.url} did not acknowledge {uid}{f': {reasons}' if reasons else ''}")


@dataclass(frozen=True)
class DicomNode:
    """An archive that takes C-STORE.

    Attributes:
        title: its application entity title.
        host, port: where it listens.
        own_title: by which it knows us.
    """

    title: str
    host: str
    port: int
    own_title: str = _OWN_TITLE

    def store(self, dataset: Dataset) -> None:
        """See `Archive`."""
        from pynetdicom import AE

        where, uid = f"{self.title}@{self.host}:{self.port}", str(dataset.SOPInstanceUID)
        entity = AE(ae_title=self.own_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_S
        entity.connection_timeout = TIMEOUT_S
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate(self.host, self.port, ae_title=self.title)
        if not association.is_established:
            raise OSError(f"{where} takes no association from '{self.own_title}'; is the title known there?")
        try:
            if not association.accepted_contexts:
                raise NotAcknowledgedError(f"{where} takes no {dataset.SOPClassUID.name}")
            status = association.send_c_store(dataset)
        finally:
            association.release()
        code = status.get("Status")
        if code is None or not (code == 0x0000 or 0xB000 <= code <= 0xBFFF):
            said = "nothing" if code is None else f"status {code:04X}H {status.get('ErrorComment', '')}".strip()
            raise NotAcknowledgedError(f"{where} did not acknowledge {uid}: it answered {said}")
        if code:
            logger.warning("%s keeps %s with a remark: status %04XH.", where, uid, code)


def parse_archive(text: str, own_title: str = _OWN_TITLE) -> Archive:
    """`http(s)://HOST/...` or `TITLE@HOST:PORT`.

    Args:
        text: as on the command line.
        own_title: application entity title by which a DICOM node knows us.

    Raises:
        ValueError: neither of them, a password in it, or their library is not installed.
    """
    node = _NODE.fullmatch(text)
    if re.match(r"https?://", text):
        if "@" in text:
            raise ValueError("No name or password in an address, which others can see: put them into ~/.netrc.")
        _check_library("dicomweb_client")
        return DicomWeb(text.rstrip("/"))
    if node is None or not 0 < int(node["port"]) < 65536:
        raise ValueError(f"An archive is https://HOST/dicom-web (STOW-RS) or TITLE@HOST:PORT (C-STORE), got '{text}'.")
    _check_library("pynetdicom")
    return DicomNode(node["title"], node["host"], int(node["port"]), own_title)


def _check_library(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec(name) is None:
        raise ValueError(f"{name} is not installed: pip install 'dsmt-nnunet[archive]'.")


def send(
    datasets: Sequence[Dataset],
    archive: Archive,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
    sleep: Callable[[float], Any] = time.sleep,
) -> list[str]:
    """Sends objects one after the other, each until it is acknowledged or the attempts are over.

    Args:
        datasets: read from files, with their file meta information.
        archive: where to.
        attempts: for each object.
        wait_s: before the second attempt; twice as long before each further one.
        sleep: waits.

    Returns:
        SOP instance UIDs of all objects, which the archive has acknowledged.

    Raises:
        OSError: some were not; it says which were and which were not, and why.
    """
    sent: list[str] = []
    failed: dict[str, str] = {}
    for dataset in datasets:
        uid = str(dataset.SOPInstanceUID)
        for attempt in range(attempts):
            if attempt:
                sleep(wait_s * 2 ** (attempt - 1))
            try:
                archive.store(dataset)
            except OSError as error:
                failed[uid] = str(error)
                logger.warning("Attempt %d of %d: %s", attempt + 1, attempts, error)
            else:
                failed.pop(uid, None)
                sent.append(uid)
                break
    if failed:
        reasons = "".join(f"\n  {reason}" for reason in failed.values())
        raise OSError(
            f"{len(failed)} of {len(datasets)} objects were not acknowledged, so they do not count as sent:{reasons}"
        )
    return sent
