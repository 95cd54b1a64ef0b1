"""One option's value from its text: sizes, durations, and what to say when it is not one."""

from __future__ import annotations

import enum
import functools
import math
import re
import types
import typing
from decimal import Decimal
from typing import Any, Final

import msgspec

SIZES: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
"""`64K`, `64KiB` and `64kb` are all 64 * 1024: nobody who limits a body thinks in powers of ten."""
DURATIONS: Final = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_QUANTITY = re.compile(r"(-?(?:[0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20}))\s*([a-zA-Z]*)")
BOOLS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@functools.cache
def fields(record: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Of a record. Kept: to read its annotations costs half a millisecond."""
    return msgspec.structs.fields(record)


def split(annotation: Any) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """The bare type and its Metas, innermost first."""
    if typing.get_origin(annotation) is typing.Annotated:
        bare, *notes = typing.get_args(annotation)
        return bare, tuple(note for note in notes if isinstance(note, msgspec.Meta))
    return annotation, ()


def unit(annotation: Any) -> str:
    """`s`, `bytes` or nothing."""
    for meta in reversed(split(plain(annotation))[1]):
        if meta.extra and "unit" in meta.extra:
            return str(meta.extra["unit"])
    return ""


def plain(annotation: Any) -> Any:
    """`X | None` is X: an option is left out to be None."""
    bare, metas = split(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(bare) if arg is not type(None)]
        if len(rest) == 1:
            inner, inner_metas = split(rest[0])
            notes = (*inner_metas, *metas)
            return typing.Annotated[(inner, *notes)] if notes else inner
    return annotation


def is_optional(annotation: Any) -> bool:
    bare = split(annotation)[0]
    return typing.get_origin(bare) in (typing.Union, types.UnionType) and type(None) in typing.get_args(bare)


def element(annotation: Any) -> Any | None:
    """The type of one element of a repeating option; None for one that does not repeat."""
    bare = split(plain(annotation))[0]
    if typing.get_origin(bare) in (tuple, list, frozenset):
        return typing.get_args(bare)[0]
    return None


def is_bool(annotation: Any) -> bool:
    return split(plain(annotation))[0] is bool


def read(annotation: Any, text: str) -> Any:
    """Raises ValueError whose text says what was wanted."""
    annotation = plain(annotation)
    bare, _ = split(annotation)
    value: Any = text
    if bare is bool:
        if text.lower() not in BOOLS:
            raise ValueError("wanted yes or no")
        return BOOLS[text.lower()]
    if bare in (int, float):
        value = _number(text, bare, unit(annotation))
        if value is None:
            raise ValueError(wanted(annotation))
    try:
        return msgspec.convert(value, _one_meta(annotation), strict=False)
    except msgspec.ValidationError:
        raise ValueError(wanted(annotation)) from None


def convert(annotation: Any, value: Any) -> Any:
    """A value as a file gives it: a number, a truth value, or text as a flag's; a list for an option that repeats.

    Raises ValueError whose text says what was wanted; for an element of a list it is a `BadElement`.
    """
    one = element(annotation)
    if one is None:
        return _converted(annotation, value)
    if not isinstance(value, list):
        value = [value]
    read = []
    for number, item in enumerate(value):
        try:
            read.append(_converted(one, item))
        except ValueError as error:
            raise BadElement(number, str(error)) from None
    try:
        return msgspec.convert(read, plain(annotation), strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


class BadElement(ValueError):
    """One element of a list is not what was wanted."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index


def _converted(annotation: Any, value: Any) -> Any:
    bare, _ = split(plain(annotation))
    if isinstance(value, str):
        return read(annotation, value)
    fits = isinstance(value, bool) if bare is bool else isinstance(value, int | float) and not isinstance(value, bool)
    if bare is str and isinstance(value, int | float):
        raise ValueError(f"{wanted(annotation)}; text stands in quotes")
    try:
        if not fits or not math.isfinite(value):
            raise ValueError(wanted(annotation))
    except OverflowError:  # an integer beyond any float
        raise ValueError(wanted(annotation)) from None
    try:
        return msgspec.convert(float(value) if bare is float else value, _one_meta(plain(annotation)))
    except msgspec.ValidationError:
        raise ValueError(wanted(annotation)) from None


def _one_meta(annotation: Any) -> Any:
    """The last word of several Metas on each bound: msgspec takes no bound twice."""
    bare, metas = split(annotation)
    if len(metas) < 2:
        return annotation
    said: dict[str, Any] = {}
    for meta in metas:
        for bounds in (("gt", "ge"), ("lt", "le"), ("pattern",), ("min_length",), ("max_length",)):
            if any(getattr(meta, bound) is not None for bound in bounds):
                said |= {bound: getattr(meta, bound) for bound in bounds}
    return typing.Annotated[bare, msgspec.Meta(**said)]


def _number(text: str, bare: type, unit: str) -> float | int | None:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    digits, suffix = match.groups()
    suffix = suffix.lower()
    if unit == "bytes":
        if len(suffix) > 1:
            suffix = suffix.removesuffix("ib").removesuffix("b")
        scale: float | None = SIZES.get(suffix)
    elif unit == "s":
        scale = DURATIONS.get(suffix)
    else:
        scale = None if suffix else 1
    if scale is None:
        return None
    value = float(digits) * scale if "." in digits else int(digits) * scale
    if bare is int:
        return int(value) if value == int(value) else None
    return float(value)


def wanted(annotation: Any) -> str:
    """What a value of this type looks like: `wanted a number of seconds above 0, as 500ms, 2s or 1m`."""
    annotation = plain(annotation)
    bare, metas = split(annotation)
    for meta in metas:
        if meta.extra and "wanted" in meta.extra:
            return f"wanted {meta.extra['wanted']}"
    if bare is bool:
        return "wanted yes or no"
    if typing.get_origin(bare) is typing.Literal:
        return "wanted one of " + ", ".join(map(str, typing.get_args(bare)))
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return "wanted one of " + ", ".join(str(member.value) for member in bare)
    name, example = {
        "bytes": ("a size in bytes", ", as 512, 64K or 256M"),
        "s": ("a duration in seconds", ", as 500ms, 2s or 1m"),
    }.get(unit(annotation), ("a whole number" if bare is int else "a number" if bare is float else "text", ""))
    bounds = [
        f"{word} {digits(value)}" if isinstance(value, int | float) else f"{word} {value}"
        for meta in split(_one_meta(annotation))[1]
        for word, value in (
            ("from", meta.ge), ("above", meta.gt), ("up to", meta.le), ("below", meta.lt),
            ("like", meta.pattern), ("of at least", meta.min_length), ("of at most", meta.max_length),
        )
        if value is not None
    ]  # fmt: skip
    return " ".join(["wanted", name, *bounds]) + example


def digits(value: float, *, thousandths: bool = False) -> str:
    """The number as options take it: exact, as short as can be, and never with an exponent."""
    text = format(Decimal(repr(value)) * (1000 if thousandths else 1), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def show(annotation: Any, value: Any) -> str:
    """A value as help prints it and options take it: 64K, 500ms, 1d, yes."""
    kind = unit(annotation)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if kind == "bytes" and value:
        for suffix in ("G", "M", "K"):
            if value % SIZES[suffix.lower()] == 0:
                return f"{value // SIZES[suffix.lower()]}{suffix}"
    if kind == "s" and value:
        for suffix in ("d", "h"):
            if value % DURATIONS[suffix] == 0:
                return f"{digits(value / DURATIONS[suffix])}{suffix}"
        if value < 1 and _number(short := f"{digits(value, thousandths=True)}ms", float, kind) == value:
            return short
        return f"{digits(value)}s"
    if isinstance(value, float):
        return digits(value)
    if isinstance(value, tuple | list | frozenset):
        return " ".join(str(item) for item in value)
    return str(value)
