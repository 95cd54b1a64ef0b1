"""Master files (RFC 1035 §5) read into a draft; the one door to dnspython, which reads every line that is not plain.

After a fault reading goes on with the next entry, so that all faults are told at once. A file that is included is
looked for from the directory of the file that includes it, as NSD and Knot do.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl
import dns.zonefile

from dns_server.generated import generated, numbers
from dns_server.plain import PlainLines, State
from dns_server.rules.draft import Draft
from dns_server.sources import CannotRead, Sources

DEPTH: Final = 16
"""Files within files."""
MOST_GENERATED: Final = 65_536
"""Records of one $GENERATE."""
MOST_OCTETS: Final = 0xFFFF
"""Of the data of one record."""
MOST_FAULTS: Final = 1000
"""Then the file is something else, and reading ends."""
_FAULTS: Final = (dns.exception.DNSException, ValueError, AssertionError, struct.error)  # UnicodeError is a ValueError
"""What dnspython raises for text: struct.error for a number that does not fit its field."""
_SURROGATE: Final = re.compile("[\udc80-\udcff]")
_CAUGHT: Final = re.compile(r"^caught exception <class '[^']*'>: ")
_NO_DETAIL: Final = frozenset({"", dns.exception.SyntaxError.__doc__, "Text input is malformed.", "None"})


def read_into(draft: Draft, text: str, file: str, *, sources: Sources | None = None, plain: bool = True) -> None:
    """All records of `text`, and what is wrong with it as faults of the draft. `file` is what places name, and from
    whose directory included files are looked for. `plain`: whether plain lines are read the fast way."""
    reading = _Reading(draft, sources or Sources(), PlainLines(draft) if plain else None)
    origin = dns.name.from_wire(draft.origin, 0)[0]
    _Reader(reading, text, file, origin).run()


class _TooManyFaults(Exception):
    pass


@dataclass
class _Reading:
    """What the files of one zone have in common."""

    draft: Draft
    sources: Sources
    plain: PlainLines | None
    open: list[str] = field(default_factory=list)
    faults: int = 0

    def fault(self, place: int, message: str) -> None:
        self.draft.fault(place, message)
        self.faults += 1
        if self.faults >= MOST_FAULTS:
            raise _TooManyFaults


class _Text:
    """What the tokenizer reads."""

    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def read(self, size: int) -> str:
        found = self.text[self.at : self.at + size]
        self.at += len(found)
        return found


class _Reader(dns.zonefile.Reader):
    """One file."""

    def __init__(self, reading: _Reading, text: str, file: str, origin: dns.name.Name) -> None:
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self._source = _Text(text if text.endswith("\n") else text + "\n")
        tokens = dns.tokenizer.Tokenizer(self._source, file)
        super().__init__(tokens, dns.rdataclass.IN, _Collector(self), allow_include=True)  # type: ignore[arg-type]
        self.zone_origin = dns.name.root  # names outside the zone are then given to us instead of being dropped
        self.current_origin = self.last_name = origin
        self._reading, self._file = reading, file
        self._base = reading.draft.file(file)
        self._line = 1
        self._wires: dict[dns.name.Name, bytes] = {}

    @property
    def place(self) -> int:
        """Of the entry that is being read."""
        return self._base + self._line

    def add(self, name: dns.name.Name, ttl: int, rdata: Any) -> None:
        wire = _bounded(bytes(rdata.to_wire(origin=self.current_origin) or b""))
        self._reading.draft.add(self._wire(name), int(rdata.rdtype), int(ttl), wire, self.place)

    def _wire(self, name: dns.name.Name) -> bytes:
        return bytes(name.to_wire() or b"")

    def run(self) -> None:
        self._reading.open.append(os.path.realpath(self._file))
        try:
            while True:
                self._skim()
                try:
                    if not self._entry():
                        break
                except _FAULTS as error:
                    self._told(error)
                    self._resume()
        except _TooManyFaults:
            if len(self._reading.open) > 1:
                raise
        finally:
            self._reading.open.pop()

    # Plain lines.

    def _skim(self) -> None:
        plain, source = self._reading.plain, self._source
        if plain is None or not self._at_line() or self.current_origin is None:
            return
        assert self.last_name is not None
        state = State(
            origin=self._wire(self.current_origin),
            owner=(owner := self._wire(self.last_name)),
            ttl=self._implicit_ttl(),
            sticky=self.default_ttl_known and not self.default_ttl_from_soa,
        )
        before = self._base + self.tok.line_number
        source.at, place = plain.read(source.text, source.at, before, state)
        self.tok.line_number += place - before
        if state.owner is not owner:
            self.last_name = dns.name.from_wire(state.owner, 0)[0]
        if state.stated is not None:
            self.last_ttl, self.last_ttl_known = state.stated, True

    def _at_line(self) -> bool:
        """Whether what comes next is the beginning of a line."""
        tok, source = self.tok, self._source
        return (
            tok.ungotten_char is None
            and tok.ungotten_token is None
            and not tok.multiline
            and (source.at == 0 or source.text[source.at - 1] == "\n")
        )

    # All others.

    def _entry(self) -> bool:
        """Read one; False at the end."""
        tok = self.tok
        self._line = tok.line_number
        token = tok.get(want_leading=True)
        if token.is_eof():
            return False
        if token.is_eol():
            return True
        if not token.is_identifier() or not token.value.startswith("$"):
            if token.is_quoted_string() and token.value:
                token = dns.tokenizer.Token(dns.tokenizer.IDENTIFIER, token.value, token.has_escape)
            tok.unget(token)
            self._rr_line()
            return True
        directive = token.value.upper()
        if directive == "$ORIGIN":
            origin = tok.get_name(self.current_origin)
            tok.get_eol()
            self.current_origin = origin
        elif directive == "$TTL":
            ttl = dns.ttl.from_text(self._word("$TTL needs a TTL"))
            tok.get_eol()
            self.default_ttl, self.default_ttl_known, self.default_ttl_from_soa = ttl, True, False
        elif directive == "$INCLUDE":
            self._include()
        elif directive == "$GENERATE":
            self._generate_line()
            tok.get_eol()
        else:
            raise ValueError(f"unknown directive {token.value}")
        return True

    def _word(self, otherwise: str) -> str:
        token = self.tok.get().unescape()
        if not token.is_identifier() and not token.is_quoted_string():
            raise ValueError(otherwise)
        return str(token.value)

    def _include(self) -> None:
        """RFC 1035 §5.1: origin and owner of this file are as they were when it was read. A $TTL holds on: it is for
        all that follows (RFC 2308 §4), to BIND and NSD too."""
        name = self._word("$INCLUDE needs a file")
        token = self.tok.get()
        origin = self.current_origin
        if not token.is_eol_or_eof():
            origin = self.tok.as_name(token, self.current_origin)
            self.tok.get_eol()
        assert origin is not None
        path = os.path.join(os.path.dirname(self._file), name)
        reading = self._reading
        if os.path.realpath(path) in reading.open:
            reading.fault(self.place, f"{name} includes itself")
            return
        if len(reading.open) >= DEPTH:
            reading.fault(self.place, f"{name} is included {DEPTH} files deep")
            return
        try:
            text = reading.sources.read(path)
        except CannotRead as fault:
            reading.fault(self.place, f"cannot read the included {fault}")
            return
        reader = self._within(text, path, origin)
        reader.run()
        self.default_ttl, self.default_ttl_known = reader.default_ttl, reader.default_ttl_known
        self.default_ttl_from_soa = reader.default_ttl_from_soa

    def _generate_line(self) -> None:
        """As BIND does: what it makes leaves owner and TTLs behind it as they were."""
        tok, source = self.tok, self._source
        begin = source.at - (1 if tok.ungotten_char else 0)
        end = source.text.find("\n", begin)
        source.at, tok.ungotten_char = end, None
        words = source.text[begin:end].split(None, 1)
        found = numbers(words[0] if words else "", MOST_GENERATED)
        if len(words) < 2:
            raise ValueError("$GENERATE needs an owner, a type and data behind its range")
        lines = "\n".join(generated(words[1], found))
        assert self.current_origin is not None
        self._within(lines, f"{self._file}:{self._line} ($GENERATE)", self.current_origin).run()

    def _within(self, text: str, file: str, origin: dns.name.Name) -> _Reader:
        """A reader of text that stands here."""
        reader = _Reader(self._reading, text, file, origin)
        reader.last_name = self.last_name
        reader.last_ttl, reader.last_ttl_known = self.last_ttl, self.last_ttl_known
        reader.default_ttl, reader.default_ttl_known = self.default_ttl, self.default_ttl_known
        reader.default_ttl_from_soa = self.default_ttl_from_soa
        return reader

    # Faults.

    def _told(self, error: Exception) -> None:
        source, line = self._source, self._line
        lines = source.text.split("\n", self.tok.line_number + 1)
        entry = lines[line - 1].strip()
        detail = _CAUGHT.sub("", str(error)).strip()
        if isinstance(error, UnicodeError) or _SURROGATE.search(entry.partition(";")[0]):
            octet = _SURROGATE.search(entry)
            what = f"octet \\{ord(octet[0]) - 0xDC00:03d} is not UTF-8" if octet else "a name cannot be written so"
            message = f"{what}; write \\DDD for it"
        elif self.tok.eof and self.tok.multiline:
            message = "a parenthesis is not closed"
        elif isinstance(error, dns.exception.UnexpectedEnd) and self.tok.quoting:
            message = "a quoted string is not closed"
        elif detail in _NO_DETAIL or isinstance(error, (AssertionError, struct.error)):
            message = f"not understood: {_SURROGATE.sub('?', entry)}"
        else:
            message = detail
        self._reading.fault(self.place, message)

    def _resume(self) -> None:
        """Go to the end of the entry, or when that is not to be found to the end of the line."""
        tok = self.tok
        token, tok.ungotten_token = tok.ungotten_token, None
        if token is not None and token.is_eol_or_eof():
            return
        try:
            while tok.multiline and not tok.quoting and not tok.get().is_eol_or_eof():
                pass
        except (dns.exception.DNSException, UnicodeError):
            pass
        source = self._source
        if not self._at_line():
            if tok.ungotten_char is not None and tok.ungotten_char:
                source.at -= 1
                if tok.ungotten_char == "\n":
                    tok.line_number -= 1
            if source.at == 0 or source.text[source.at - 1] != "\n" or tok.ungotten_char is not None:
                end = source.text.find("\n", source.at)
                source.at = end + 1 if end >= 0 else len(source.text)
                tok.line_number += 1
        tok.ungotten_char, tok.multiline, tok.quoting = None, 0, False
        tok.delimiters, tok.eof = dns.tokenizer._DELIMITERS, source.at >= len(source.text)


class _Collector:
    """As much of a dnspython transaction as its reader asks for."""

    def __init__(self, reader: _Reader) -> None:
        self.manager = self
        self.add = reader.add

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, check: object) -> None:
        """CNAME beside other data is checked by the draft, which knows both places."""


def _bounded(rdata: bytes) -> bytes:
    """RFC 1035 §3.2.1: RDLENGTH has 16 bits. Raises ValueError."""
    if len(rdata) > MOST_OCTETS:
        raise ValueError(f"the data has {len(rdata)} octets, and {MOST_OCTETS} are the most")
    return rdata


def rdata_from_text(type: int, text: str, origin: bytes) -> bytes:
    apex = dns.name.from_wire(origin, 0)[0]
    number = dns.rdatatype.RdataType.make(type)
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, number, text, apex, relativize=False)
        return _bounded(bytes(rdata.to_wire(origin=apex) or b""))
    except _FAULTS as error:
        raise ValueError(str(error)) from None


def rdata_to_text(type: int, rdata: bytes) -> str:
    number = dns.rdatatype.RdataType.make(type)
    try:
        return str(dns.rdata.from_wire(dns.rdataclass.IN, number, rdata, 0, len(rdata)).to_text())
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(str(error) or error.__class__.__name__) from None
