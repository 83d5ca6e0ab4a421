from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from dsmt_nnunet.records import RecordError, from_json, jsonable, widened, write_json


@dataclass(frozen=True, kw_only=True)
class Circle:
    shape: Literal["circle"] = "circle"
    radius: float


@dataclass(frozen=True, kw_only=True)
class Square:
    shape: Literal["square"] = "square"
    side: float
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shapes: tuple[Circle | Square, ...]
    by_name: dict[str, int]
    limits: tuple[float, float]
    points: npt.NDArray[np.float64]
    is_signed: bool
    spaced: str = field(metadata={"key": "two words"})
    note: str | None = None
    weight: float | None = None


def drawing(**other: object) -> dict[str, object]:
    """What a file holds of a drawing, some of it changed."""
    content: dict[str, object] = {
        "shapes": [{"shape": "circle", "radius": 1}, {"shape": "square", "side": 2.5, "name": None}],
        "by_name": {"a": 3},
        "limits": [0.5, None],
        "points": [1.0, None],
        "is_signed": True,
        "two words": "yes",
    }
    return {**content, **other}


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = from_json(Drawing, drawing())
    assert read.shapes == (Circle(radius=1.0), Square(side=2.5, name=None))
    assert isinstance(read.shapes[0], Circle)
    assert math.isnan(read.limits[1])
    assert math.isnan(read.points[1])
    assert (read.spaced, read.note, read.weight) == ("yes", None, None)
    write_json(read, tmp_path / "file.json")
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == drawing()


def test_an_optional_field_is_absent_where_it_is_none_and_null_where_it_is_undefined() -> None:
    assert "weight" not in jsonable(from_json(Drawing, drawing()))
    undefined = from_json(Drawing, drawing(weight=None))
    assert undefined.weight is not None
    assert math.isnan(undefined.weight)
    assert jsonable(undefined)["weight"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (drawing(colour="red"), "key 'colour' is not known"),
        ({name: value for name, value in drawing().items() if name != "limits"}, "key 'limits' is missing"),
        (drawing(limits=[1.0]), "key 'limits' must be a list of 2, got [1.0]"),
        (drawing(limits=[1.0, "2"]), "key 'limits[1]' must be a number or null, got \"2\""),
        (drawing(limits=[1.0, True]), "key 'limits[1]' must be a number or null, got true"),
        (drawing(by_name={"a": 1.5}), "key 'by_name.a' must be a whole number, got 1.5"),
        (drawing(by_name={"a": True}), "key 'by_name.a' must be a whole number, got true"),
        (drawing(by_name=[]), "key 'by_name' must be an object, got []"),
        (drawing(points=3), "key 'points' must be a list, got 3"),
        (drawing(points=["x"]), "key 'points[0]' must be a number or null"),
        (drawing(is_signed=1), "key 'is_signed' must be true or false, got 1"),
        (drawing(note=None), "key 'note' must be a text, got null"),
        (drawing(shapes=[{"shape": "line"}]), "key 'shapes[0]' must be an object of shape 'circle' or shape 'square'"),
        (drawing(shapes=[{"shape": "circle"}]), "key 'shapes[0].radius' is missing"),
        ([], "key '' must be an object, got []"),
    ],
)
def test_anything_else_is_refused_by_its_key(content: object, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        from_json(Drawing, content)
    assert message in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Named(Circle):
    name: str


def test_widened_holds_the_fields_of_its_parts_and_more() -> None:
    assert widened(Named, Circle(radius=2.0), name="a") == Named(radius=2.0, name="a")
    with pytest.raises(TypeError, match="name"):
        widened(Named, Circle(radius=2.0))
