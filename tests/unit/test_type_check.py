"""Every room that ships is seen by the type checker, under the name that it is installed with."""

from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def checked(package: str) -> Path | None:
    """The folder from which mypy reads a package, None where no entry of `files` holds it."""
    for entry in map(Path, SETTINGS["mypy"]["files"]):
        base = Path(SETTINGS["mypy"]["mypy_path"]) if entry.parts[0] == ".ci" else Path()
        folder = base.joinpath(*package.split("."))
        if folder.is_relative_to(entry) and (ROOT / folder).is_dir():
            return (ROOT / folder).resolve()
    return None


@pytest.mark.parametrize("package", SETTINGS["setuptools"]["packages"])
def test_every_package_is_checked_under_its_own_name(package: str) -> None:
    folders = SETTINGS["setuptools"]["package-dir"]
    assert checked(package) == ROOT / folders.get(package, package.replace(".", "/"))


def test_a_package_that_is_not_linked_is_noticed() -> None:
    assert checked("dsmt_nnunet.elsewhere") is None


def test_no_room_is_left_out_of_strict_checking() -> None:
    assert SETTINGS["mypy"]["strict"] is True
    assert "overrides" not in SETTINGS["mypy"]
