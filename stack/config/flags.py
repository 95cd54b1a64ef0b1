"""Flags and environment -> a hop's frozen options. Everything is derived from the records: no option is named here.

The field `timeouts.head` is `--timeouts-head` and `HOPSTACK_TIMEOUTS_HEAD`; a flag wins over the environment, and that
over the default. A tuple field repeats its flag, and is separated by blanks in the environment.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import msgspec

from stack.config import values
from stack.errors import ConfigError

if TYPE_CHECKING:
    import argparse

T = TypeVar("T", bound=msgspec.Struct)

PREFIX: Final = "HOPSTACK_"
HIDDEN: Final = "***"
_SECRET = re.compile(r"(^|_)(key|password|token|secret)s?$")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*(?=@)")


@dataclass(frozen=True, slots=True)
class Option:
    """One field: `path` into nested records, its type with its Metas, and its default (msgspec.NODEFAULT: needed)."""

    path: tuple[str, ...]
    type: Any
    default: Any

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def doc(self) -> str:
        return next((meta.description for meta in reversed(values.split(self.type)[1]) if meta.description), "")


@functools.cache
def options(config_type: type[msgspec.Struct]) -> tuple[Option, ...]:
    """Every field of a record, those of nested records behind their own name."""
    return tuple(_options(config_type, ()))


def _options(config_type: type[msgspec.Struct], path: tuple[str, ...]) -> Iterator[Option]:
    for field in values.fields(config_type):
        bare = values.split(field.type)[0]
        here = (*path, field.name)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            yield from _options(bare, here)
        elif field.default_factory is not msgspec.NODEFAULT:
            yield Option(here, field.type, field.default_factory())
        else:
            yield Option(here, field.type, field.default)


def parse(
    kind: str, config_type: type[T], argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> T:
    """ConfigError in one line for whatever is wrong; `--help` prints and raises SystemExit(0)."""
    return make(config_type, given(kind, config_type, argv, environ))


def given(
    kind: str,
    config_type: type[msgspec.Struct],
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[tuple[str, ...], Any]:
    """What flags and environment say, by the option's path. ConfigError for whatever is wrong."""
    known = list(options(config_type))
    flags = _flags(kind, config_type, known, argv)
    environ = os.environ if environ is None else environ
    found: dict[tuple[str, ...], Any] = {}
    for option in known:
        if option.path in flags:
            found[option.path] = _read(option, option.flag, flags[option.path])
        elif option.variable in environ:
            found[option.path] = from_environment(option, environ)
    return found


def from_environment(option: Option, environ: Mapping[str, str]) -> Any:
    """The value of a variable that is there. ConfigError names it."""
    text = environ[option.variable]
    return _read(option, option.variable, text.split() if values.element(option.type) is not None else text)


def make(config_type: type[T], found: Mapping[tuple[str, ...], Any]) -> T:
    """The record with these values, and defaults for the rest. ConfigError for a needed one that is missing."""
    for option in options(config_type):
        if option.default is msgspec.NODEFAULT and option.path not in found:
            raise ConfigError(f"{option.flag} is needed: {option.doc or values.wanted(option.type)}")
    return _made(config_type, found, ())


def changed(config: T, found: Mapping[tuple[str, ...], Any]) -> T:
    """The same record but for these values."""
    return cast(T, _merged(config, found, ()))


def effective(config: msgspec.Struct) -> dict[str, Any]:
    """The whole configuration as plain values for `/-/config`, without secrets: those fields and passwords in URLs."""
    shown: dict[str, Any] = {}
    for field in values.fields(type(config)):
        value = getattr(config, field.name)
        if isinstance(value, msgspec.Struct):
            shown[field.name] = effective(value)
        elif is_secret(field.name):
            shown[field.name] = [HIDDEN] * len(value) if isinstance(value, tuple) else HIDDEN if value else value
        else:
            shown[field.name] = without_passwords(msgspec.to_builtins(value))
    return shown


def is_secret(name: str) -> bool:
    """Whether the value of an option of this name is shown to nobody."""
    return _SECRET.search(name.lower()) is not None


def without_passwords(value: Any) -> Any:
    """The same text, list or table; passwords in URLs, and what a key says is a secret, are hidden."""
    if isinstance(value, str):
        return _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}", value)
    if isinstance(value, list | tuple):
        return [without_passwords(item) for item in value]
    if isinstance(value, dict):
        return {key: HIDDEN if item and is_secret(str(key)) else without_passwords(item) for key, item in value.items()}
    return value


def _made(config_type: type[T], found: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> T:
    """The record, its nested records changed only where something was given, so that their defaults hold."""
    fields: dict[str, Any] = {}
    for field in values.fields(config_type):
        here = (*path, field.name)
        bare = values.split(field.type)[0]
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            if any(key[: len(here)] == here for key in found):
                default = _default(field)
                inner = _made(bare, found, here)
                fields[field.name] = inner if default is None else _merged(default, found, here)
        elif here in found:
            fields[field.name] = found[here]
    try:
        return config_type(**fields)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return None if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _merged(default: msgspec.Struct, found: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> msgspec.Struct:
    changed: dict[str, Any] = {}
    for field in values.fields(type(default)):
        here = (*path, field.name)
        value = getattr(default, field.name)
        if here in found:
            changed[field.name] = found[here]
        elif isinstance(value, msgspec.Struct):
            changed[field.name] = _merged(value, found, here)
    try:
        return msgspec.structs.replace(default, **changed)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None


def _read(option: Option, place: str, given: Any) -> Any:
    element = values.element(option.type)
    if isinstance(given, bool):
        return given
    try:
        if element is None:
            if given == "" and values.is_optional(option.type):
                return None
            return values.read(option.type, given)
        text = ""
        read = []
        for text in given:
            read.append(values.read(element, text))
    except ValueError as error:
        raise ConfigError(f"{place} {given if element is None else text!r}: {error}") from None
    try:
        return msgspec.convert(read, option.type, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}: {error}") from None


def _flags(
    kind: str, config_type: type[msgspec.Struct], known: Sequence[Option], argv: Sequence[str] | None
) -> dict[tuple[str, ...], Any]:
    argv = sys.argv[1:] if argv is None else argv
    if (plain := _plain(known, argv)) is not None:
        return plain
    parser = _parser(kind, config_type, known)
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        raise ConfigError(_unknown(unknown[0], parser))
    by_flag = {option.flag: option.path for option in known}
    return {by_flag[flag]: value for flag, value in vars(given).items()}


def _plain(known: Sequence[Option], argv: Sequence[str]) -> dict[tuple[str, ...], Any] | None:
    """Flags as `stack.config.arguments` writes them, which needs no parser: 20 ms for each process of a stack.

    None for what is written in any other way.
    """
    by_flag = {option.flag: option for option in known}
    found: dict[tuple[str, ...], Any] = {}
    for argument in argv:
        flag, equals, value = argument.partition("=")
        option = by_flag.get(flag) or by_flag.get(flag.replace("--no-", "--", 1))
        if option is None or values.is_bool(option.type) == bool(equals):
            return None
        if not equals:
            found[option.path] = option.flag == flag
        elif option.flag != flag:
            return None
        elif values.element(option.type) is not None:
            found.setdefault(option.path, []).append(value)
        else:
            found[option.path] = value
    return found


def _unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    if not argument.startswith("-"):
        return f"{argument!r} is not an option: every option is a flag, see --help"
    flag = argument.partition("=")[0]
    flags = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    near = difflib.get_close_matches(flag, flags, 1)
    return f"there is no flag {flag}: " + (f"did you mean {near[0]}?" if near else "see --help")


def _parser(kind: str, config_type: type[msgspec.Struct], known: Sequence[Option]) -> argparse.ArgumentParser:
    import argparse  # 7 ms: not for those who only look at options

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(message.removeprefix("argument "))

    parser = Parser(
        prog=f"python -m {kind}",
        description=f"{_first_line(config_type)} Each flag may be given in the environment instead: "
        f"--timeouts-head as {PREFIX}TIMEOUTS_HEAD.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[tuple[str, ...], Any] = {(): parser}
    for option in known:
        if (group := groups.get(option.path[:-1])) is None:
            title = " ".join(option.path[:-1]).replace("_", " ")
            group = groups[option.path[:-1]] = parser.add_argument_group(title)
        details: dict[str, Any] = {"dest": option.flag, "help": _help(option).replace("%", "%%")}
        if values.is_bool(option.type):
            details["action"] = argparse.BooleanOptionalAction
        else:
            details["metavar"] = _metavar(option)
            if values.element(option.type) is not None:
                details["action"] = "append"
        group.add_argument(option.flag, **details)
    return parser


def _first_line(config_type: type[msgspec.Struct]) -> str:
    return " ".join((config_type.__doc__ or "").partition("\n\n")[0].split())


def _metavar(option: Option) -> str:
    one = values.element(option.type) or option.type
    return {"bytes": "SIZE", "s": "TIME"}.get(values.unit(one), "") or {int: "N", float: "NUMBER"}.get(
        values.split(one)[0], option.path[-1].upper()
    )


def _help(option: Option) -> str:
    if option.default is msgspec.NODEFAULT:
        return f"{option.doc} (needed)".strip()
    one = values.element(option.type)
    shown = values.show(one or option.type, option.default)
    return f"{option.doc} (default: {shown})".strip() if shown not in ("", "None") else option.doc
