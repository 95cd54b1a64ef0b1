"""Values as a file gives them: numbers and truth values are themselves, text is as a flag's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from stack.config import values
from stack.config.base import Bytes, Count, Seconds

Twice = Annotated[Count, Meta(ge=1, description="A bound that is set anew.")]


@pytest.mark.parametrize(
    ("annotation", "given", "wanted"),
    [
        (str, "x", "x"),
        (bool, True, True),
        (bool, "no", False),
        (int, 3, 3),
        (int, "3", 3),
        (float, 3, 3.0),
        (Bytes, 512, 512),
        (Bytes, "64K", 65_536),
        (Seconds, 2, 2.0),
        (Seconds, 2.5, 2.5),
        (Seconds, "500ms", 0.5),
        (Twice, 1, 1),
        (Twice, "7", 7),
        (Annotated[int, Meta(ge=1)] | None, 4, 4),
        (Literal["a", "b"], "b", "b"),
        (tuple[str, ...], ["a", "b"], ("a", "b")),
        (tuple[str, ...], "a", ("a",)),
        (tuple[Bytes, ...], ["1K", 2], (1024, 2)),
        (tuple[str, ...], [], ()),
    ],
)
def test_converted(annotation: Any, given: Any, wanted: Any) -> None:
    found = values.convert(annotation, given)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("annotation", "given", "said"),
    [
        (str, 3, "wanted text; text stands in quotes"),
        (str, True, "wanted text; text stands in quotes"),
        (bool, 1, "wanted yes or no"),
        (bool, "perhaps", "wanted yes or no"),
        (int, True, "wanted a whole number"),
        (int, 1.5, "wanted a whole number"),
        (int, [1], "wanted a whole number"),
        (int, {"a": 1}, "wanted a whole number"),
        (float, float("nan"), "wanted a number"),
        (float, float("inf"), "wanted a number"),
        (float, 10**400, "wanted a number"),
        (int, 10**400, "wanted a whole number"),
        (Bytes, -1, "wanted a size in bytes from 0, as 512, 64K or 256M"),
        (Seconds, 0, "wanted a duration in seconds above 0, as 500ms, 2s or 1m"),
        (Twice, 0, "wanted a whole number from 1"),
        (Twice, "0", "wanted a whole number from 1"),
        (Literal["a", "b"], "c", "wanted one of a, b"),
        (Literal["a", "b"], 3, "wanted one of a, b"),
    ],
)
def test_refused(annotation: Any, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match="wanted") as raised:
        values.convert(annotation, given)
    assert str(raised.value) == said


def test_the_element_that_is_wrong() -> None:
    with pytest.raises(values.BadElement) as raised:
        values.convert(tuple[Bytes, ...], ["1K", "x"])
    assert raised.value.index == 1


@pytest.mark.parametrize(
    ("annotation", "value", "shown"),
    [
        (Bytes, 65_536, "64K"),
        (Bytes, 1000, "1000"),
        (Seconds, 0.5, "500ms"),
        (Seconds, 0.1 + 0.2, "300.00000000000004ms"),
        (Seconds, 0.00001, "0.01ms"),
        (Seconds, 0.9322405696329548, "0.9322405696329548s"),
        (Seconds, 75.0, "75s"),
        (Seconds, 1_234_567.0, "1234567s"),
        (Seconds, 7200.0, "2h"),
        (Seconds, 172_800.0, "2d"),
        (Seconds, 1e17, "100000000000000000s"),
        (float, 0.00005, "0.00005"),
        (float, 1.0, "1"),
        (bool, True, "yes"),
    ],
)
def test_what_is_shown_is_what_is_read(annotation: Any, value: Any, shown: str) -> None:
    assert values.show(annotation, value) == shown
    assert values.read(annotation, shown) == value
