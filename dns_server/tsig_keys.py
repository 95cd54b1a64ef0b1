"""Secrets of TSIG, in files as `tsig-keygen` writes them: arguments can be read by every user of a machine."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dns_server.rules.names import NameFault, from_text, to_text
from stack.errors import ConfigError

log = logging.getLogger("hopstack.dns")

ALGORITHMS: Final[Mapping[str, int]] = {"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}
"""By name, with the octets of their MAC. MD5 and SHA-1 are not to be used any more (RFC 8945 §6)."""
DEFAULT_ALGORITHM: Final = "hmac-sha256"

_TOKEN: Final = re.compile(
    r'//[^\n]*|\#[^\n]*|/\*.*?\*/|"(?P<quoted>[^"\n]*)"|(?P<mark>[{};])|(?P<word>[^\s{};"]+)', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Key:
    """A shared secret. `name` and `algorithm` are names in wire form, in lower case."""

    name: bytes
    algorithm: bytes
    secret: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Octets of a MAC."""
        return ALGORITHMS[to_text(self.algorithm).rstrip(".")]

    @property
    def hash(self) -> str:
        """As hashlib calls it."""
        return to_text(self.algorithm).removeprefix("hmac-").rstrip(".")

    def text(self) -> str:
        """As `tsig-keygen` writes it."""
        name, algorithm = (to_text(wire).rstrip(".") for wire in (self.name, self.algorithm))
        return f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{base64.b64encode(self.secret).decode()}";\n}};\n'


def make_key(name: str, algorithm: str, secret: str) -> Key:
    """From text, the secret in base64. Raises ValueError that says what is wrong and never what the secret is."""
    try:
        owner = from_text(name).lower()
    except NameFault as fault:
        raise ValueError(f"{name!r} is no name of a key: {fault}") from None
    known = algorithm.lower().rstrip(".")
    if known not in ALGORITHMS:
        raise ValueError(f"{algorithm} is not accepted; one of {', '.join(ALGORITHMS)}")
    try:
        octets = base64.b64decode("".join(secret.split()), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not octets:
        raise ValueError("the secret is no base64")
    return Key(owner, from_text(known), octets)


def read_keys(files: Iterable[str | Path]) -> list[Key]:
    """The keys of all files. Raises ConfigError with file and line."""
    found: dict[bytes, tuple[Key, str]] = {}
    for file in files:
        path = Path(file)
        try:
            text = path.read_text("utf-8")
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"--tsig-key {path}: {said}; `hopstack dns key NAME` makes such a file") from None
        if mode & 0o007:
            log.warning("%s holds a secret and every user can read it; chmod 600 %s", path, path)
        keys = parse_keys(text, str(path))
        if not keys:
            raise ConfigError(f"--tsig-key {path}: there is no key in it; `hopstack dns key NAME` makes such a file")
        for place, key in keys:
            if key.name in found and found[key.name][0] != key:
                raise ConfigError(f"{place}: another key is called {to_text(key.name)}, at {found[key.name][1]}")
            found[key.name] = (key, place)
    return [key for key, _ in found.values()]


def parse_keys(text: str, place: str) -> list[tuple[str, Key]]:
    """`key NAME { algorithm A; secret S; };` any number of times, or lines of `ALGORITHM:NAME:SECRET` as dig -y takes
    them; each with its `FILE:LINE`. Raises ConfigError."""
    tokens = [
        (f"{place}:{text.count(chr(10), 0, match.start()) + 1}", match["mark"] or "", match["quoted"] or match["word"])
        for match in _TOKEN.finditer(text)
        if match.lastgroup is not None
    ]
    keys: list[tuple[str, Key]] = []
    at = 0
    while at < len(tokens):
        where, mark, word = tokens[at]
        at += 1
        if not mark and word != "key" and word.count(":") == 2:
            algorithm, name, secret = word.split(":")
        elif not mark and word == "key":
            name, algorithm, secret, at = _clause(tokens, at, where)
        else:
            if mark == ";":
                continue
            raise ConfigError(f'{where}: wanted key "NAME" {{ algorithm hmac-sha256; secret "BASE64"; }};')
        try:
            keys.append((where, make_key(name, algorithm, secret)))
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    return keys


def _clause(tokens: list[tuple[str, str, str]], at: int, where: str) -> tuple[str, str, str, int]:
    """What stands behind the word `key`, and where it ends."""
    if at + 1 >= len(tokens) or tokens[at][1] or tokens[at + 1][1] != "{":
        raise ConfigError(f"{where}: wanted key NAME {{")
    name = tokens[at][2]
    said: dict[str, str] = {}
    at += 2
    while at < len(tokens) and tokens[at][1] != "}":
        if at + 2 >= len(tokens) or tokens[at][1] or tokens[at + 1][1] or tokens[at + 2][1] != ";":
            raise ConfigError(f"{tokens[at][0]}: wanted algorithm NAME; or secret BASE64;")
        said[tokens[at][2]] = tokens[at + 1][2]
        at += 3
    if at >= len(tokens):
        raise ConfigError(f"{where}: the key {name} has no closing }}")
    if missing := [word for word in ("algorithm", "secret") if word not in said]:
        raise ConfigError(f"{where}: the key {name} has no {missing[0]}")
    return name, said["algorithm"], said["secret"], at + 1
