"""Master files (RFC 1035 §5), read by dnspython: the one door to it. Every fault is reported with file and line."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dns_server.rules.faults import Fault
from dns_server.rules.names import to_text
from dns_server.rules.zone import Record, Zone, compile_zone
from stack.errors import ConfigError

if TYPE_CHECKING:
    import dns.name


def load(origin: bytes, path: Path) -> tuple[Zone, list[Fault]]:
    """The zone in a file, with warnings. Raises ConfigError with every fault, with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"zone {to_text(origin)}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at octet {error.start}; write \\DDD for other octets") from None
    return load_text(origin, text, str(path))


def load_text(origin: bytes, text: str, place: str = "<text>") -> tuple[Zone, list[Fault]]:
    """Like `load`, from a string; `place` stands for the file's name."""
    zone, faults = compile_zone(origin, read(origin, text, place))
    if zone is None:
        raise ConfigError("; ".join(str(fault) for fault in faults if fault.fatal))
    return zone, faults


def read(origin: bytes, text: str, place: str) -> list[Record]:
    """The records, in order. Raises ConfigError at the first line that is no master file."""
    # dnspython is loaded here: a resolver never needs it
    import dns.exception
    import dns.name
    import dns.rdataclass
    import dns.tokenizer
    import dns.zonefile

    class Reader(dns.zonefile.Reader):
        """Keeps where each record begins; dnspython itself knows only where it ends."""

        def _rr_line(self) -> None:
            where.append(self.tok.where())
            super()._rr_line()
            where.pop()

    where: list[tuple[str, int]] = []
    apex = dns.name.from_wire(origin, 0)[0]
    found = _Collector(apex, where)
    tokens = dns.tokenizer.Tokenizer(StringIO(text + "\n"), place)
    reader = Reader(tokens, dns.rdataclass.IN, found, allow_include=True)  # type: ignore[arg-type]
    reader.zone_origin = dns.name.root  # names outside the zone are then given to us instead of being dropped
    try:
        reader.read()
    except dns.exception.DNSException as error:
        file, line = where[-1] if where else reader.tok.where()
        detail = str(error).removeprefix(f"{file}:{reader.tok.where()[1]}: ")
        if detail in ("", dns.exception.SyntaxError.__doc__) and file == place:
            lines = text.splitlines()
            line = min(line, len(lines))
            while line > 1 and not lines[line - 1].strip():
                line -= 1  # a line that ends too early is told of at the next one
            detail = f"not understood: {lines[line - 1].strip()}"
        raise ConfigError(f"{file}:{line}: {detail}") from None
    except OSError as error:
        file, line = reader.tok.where()
        # the directive's line is read to its end by then
        raise ConfigError(f"{file}:{line - 1}: cannot read the included {error.filename}: {error.strerror}") from None
    return found.records


class _Collector:
    """As much of a dnspython transaction as its reader asks for."""

    def __init__(self, origin: dns.name.Name, where: list[tuple[str, int]]) -> None:
        self.manager = self
        self.records: list[Record] = []
        self._origin = origin
        self._where = where

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return self._origin, False, self._origin

    def get_class(self) -> int:
        return 1

    def check_put_rdataset(self, check: object) -> None:
        """CNAME beside other data is checked by `compile_zone`, which knows both places."""

    def add_unicode(self, version: str) -> None:
        pass

    def _set_origin(self, origin: dns.name.Name | None) -> None:
        pass

    def add(self, name: dns.name.Name, ttl: int, rdata: Any) -> None:
        owner = bytes(name.to_wire() or b"")
        file, line = self._where[-1] if self._where else ("", 0)
        wire = bytes(rdata.to_wire(origin=self._origin) or b"")
        self.records.append(Record(owner, int(rdata.rdtype), int(ttl), wire, f"{file}:{line}"))


# One record's data, for records that are set, shown and updated while the server runs.


def rdata_from_text(type: int, text: str, origin: bytes) -> bytes:
    """Wire form; names without a final dot are below `origin`. Raises ValueError with what is wrong."""
    import dns.exception
    import dns.name
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    apex = dns.name.from_wire(origin, 0)[0]
    number = dns.rdatatype.RdataType.make(type)
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, number, text, apex, relativize=False)
        return bytes(rdata.to_wire(origin=apex) or b"")
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(str(error)) from None


def rdata_to_text(type: int, rdata: bytes) -> str:
    """As a master file writes it. Raises ValueError for rdata that does not fit its type."""
    import dns.exception
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    number = dns.rdatatype.RdataType.make(type)
    try:
        return str(dns.rdata.from_wire(dns.rdataclass.IN, number, rdata, 0, len(rdata)).to_text())
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(str(error) or error.__class__.__name__) from None
