from __future__ import annotations

import json
import subprocess
import sys

import pytest

import dsmt_nnunet as dsmt

TABLES = ("openpyxl", "odf", "charset_normalizer")
IMAGES = ("SimpleITK", "nibabel", "pydicom", "skimage")
COMPUTATION = ("torch", "nnunetv2", "scipy", "sklearn", "statsmodels", "matplotlib", "monai")
HEAVY = (*COMPUTATION, *IMAGES, *TABLES)


def loaded_after(code: str) -> set[str]:
    """Heavy modules that a fresh interpreter holds after some code."""
    program = f"{code}\nimport sys, json\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded_after("import dsmt_nnunet as dsmt; dir(dsmt); dsmt.__version__") == set()


def test_the_help_imports_nothing_heavy() -> None:
    code = "from dsmt_nnunet.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert loaded_after(code) == set()


def test_evaluation_and_report_need_no_torch() -> None:
    assert "torch" not in loaded_after("import dsmt_nnunet as dsmt; dsmt.evaluate; dsmt.write_report")


def test_every_name_is_there() -> None:
    for name in dsmt.__all__:
        assert getattr(dsmt, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dsmt.no_such_name  # type: ignore[attr-defined]
