"""What a primary sends, read record by record and judged: AXFR (RFC 5936) and IXFR (RFC 1995) at the secondary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import Final

from dns_server.rules import types
from dns_server.rules.draft import Draft
from dns_server.rules.names import is_at_or_below, to_text
from dns_server.rules.query import QR, TC
from dns_server.rules.rdata import RdataFault, check, expand, fold, read_name
from dns_server.rules.rrset import RRset
from dns_server.rules.transfer import newer
from dns_server.rules.zone import Record, Zone

_HEADER: Final = Struct(">HHHHHH")
_RR: Final = Struct(">HHIH")
MAX_TTL: Final = 0x7FFF_FFFF


class TransferFault(ValueError):
    """What came is no transfer of that zone; says why. `rcode` is the primary's, where that was the reason."""

    def __init__(self, message: str, rcode: int = 0) -> None:
        super().__init__(message)
        self.rcode = rcode


@dataclass(slots=True)
class Delta:
    """One step of an IXFR; the SOA records stand apart."""

    before: Record
    after: Record
    removed: list[Record] = field(default_factory=list)
    added: list[Record] = field(default_factory=list)


def serial_of(soa: bytes) -> int:
    return int.from_bytes(soa[-20:-16], "big")


def soa_among(message: bytes, section: int) -> Record | None:
    """The first SOA of the answer (0) or the authority section (1) of a message with one question: what an IXFR is
    asked from (RFC 1995 §3), what a NOTIFY hints at (RFC 1996 §3.7). Raises RdataFault."""
    counts = _HEADER.unpack_from(message)[3:5]
    try:
        at = _behind_name(message, 12) + 4
        for index in range(sum(counts[: section + 1])):
            start, at = at, _behind_name(message, at)
            type, cls, ttl, size = _RR.unpack_from(message, at)
            at += 10 + size
            if at > len(message):
                raise RdataFault("a record runs past the message")
            if type == types.SOA and cls == types.IN and index >= sum(counts[:section]):
                rdata = expand(type, message, at - size, at)
                if len(rdata) < 22:
                    raise RdataFault("the SOA record is too short")
                return Record(read_name(message, start)[0], type, ttl, rdata)
    except (StructError, IndexError):
        raise RdataFault("the message is cut short") from None
    return None


def _behind_name(message: bytes, at: int) -> int:
    """Where a name ends. It is not written out: of thousands in a message that anybody can send, that takes long."""
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


class Incoming:
    """Takes the messages of one transfer in order, until `done`.

    Then it is one of three: `current` (the primary has nothing newer), `deltas`, or the `whole` zone.
    """

    def __init__(self, origin: bytes, type: int, id: int, serial: int | None = None) -> None:
        """`type`: AXFR or IXFR, `serial` what the IXFR was asked from."""
        self.key = origin.lower()
        self.done = False
        self.current = False
        self.whole: Draft | None = None
        """The zone, where it is all of it: a million records are not a million objects."""
        self.records = 0
        """How many there are in it."""
        self.deltas: list[Delta] = []
        self.octets = 0
        self._type = type
        self._id = id
        self._serial = serial
        self._first: Record | None = None
        self._origin = origin
        self._form = "" if type == types.IXFR else "whole"
        self._adding = False
        self._messages = 0

    def read(self, message: bytes) -> Iterator[None]:
        """Read a message; a step for each record, so that the caller may pause. Raises TransferFault."""
        try:
            for record in self._records(message):
                if self.done:
                    raise TransferFault("records behind the last SOA")
                self._take(record)
                yield
        except (RdataFault, StructError, IndexError) as fault:
            raise TransferFault(f"message {self._messages} is malformed: {fault}") from None
        if self._first is None:
            raise TransferFault("the first message has no record")
        if self._lone():
            self.done = self.current = True

    def _records(self, message: bytes) -> Iterator[Record]:
        self._messages += 1
        self.octets += len(message)
        id, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
        if id != self._id or not flags & QR:
            raise TransferFault("a message that is no response to this query")
        if rcode := flags & 0xF:
            raise TransferFault(f"answered {types.rcode_name(rcode)}", rcode)
        if flags & TC:
            raise TransferFault("truncated")
        if questions > 1:
            raise TransferFault("more than one question")
        at = 12
        if questions:
            name, at = read_name(message, at)
            if name.lower() != self.key or message[at : at + 4] != self._type.to_bytes(2, "big") + b"\0\x01":
                raise TransferFault(f"answers another question, for {to_text(name)}")
            at += 4
        names: dict[int, tuple[bytes, int]] = {}
        for _ in range(answers):
            # most owners are a pointer to one that was read before
            if message[at] >= 0xC0:
                pointer = (message[at] & 0x3F) << 8 | message[at + 1]
                known = names.get(pointer)
                if known is None:
                    known = names[pointer] = read_name(message, at)
                owner = known[0]
                at += 2
            else:
                owner, at = read_name(message, at)
            type, cls, ttl, size = _RR.unpack_from(message, at)
            at += 10
            end = at + size
            if end > len(message):
                raise RdataFault("a record runs past the message")
            if cls != types.IN:
                raise TransferFault(f"{to_text(owner)} has class {cls}")
            # RFC 2181 §8: the topmost bit set means zero
            yield Record(owner, type, 0 if ttl > MAX_TTL else ttl, expand(type, message, at, end))
            at = end

    def _take(self, record: Record) -> None:
        is_soa = record.type == types.SOA
        if is_soa and (record.owner.lower() != self.key or len(record.rdata) < 22):
            raise TransferFault(f"a SOA record of {to_text(record.owner)}")
        if not is_soa and not is_at_or_below(record.owner.lower(), self.key):
            raise TransferFault(f"{to_text(record.owner)} is not in the zone {to_text(self.key)}")
        if self._first is None:
            if not is_soa:
                raise TransferFault("it does not begin with the SOA record")
            self._first = record
            if self._form:
                self._keep(record)
            return
        if not self._form:
            # RFC 1995 §4: a second SOA, with the serial that was asked from, begins a list of differences
            self._form = "steps" if is_soa and serial_of(record.rdata) != serial_of(self._first.rdata) else "whole"
            if self._form == "whole":
                self._keep(self._first)
            elif serial_of(record.rdata) != self._serial:
                raise TransferFault(f"differences from serial {serial_of(record.rdata)}, asked from {self._serial}")
        if self._form == "whole":
            if is_soa:
                if record.rdata != self._first.rdata:
                    raise TransferFault("the last SOA is not the first: the zone changed in between")
                self.done = True
            else:
                self._keep(record)
            return
        self._step(record, is_soa)

    def _keep(self, record: Record) -> None:
        if self.whole is None:
            self.whole = Draft(self._origin)
        check(record.type, record.rdata)
        self.whole.add(record.owner, record.type, record.ttl, record.rdata, 0)
        self.records += 1

    def _step(self, record: Record, is_soa: bool) -> None:
        assert self._first is not None
        deltas = self.deltas
        if not is_soa:
            (deltas[-1].added if self._adding else deltas[-1].removed).append(record)
        elif not deltas or self._adding:
            last = deltas[-1].after.rdata if deltas else None
            if last is not None and record.rdata == last and last == self._first.rdata:
                self.done = True
                return
            if last is not None and serial_of(record.rdata) != serial_of(last):
                raise TransferFault("the differences do not follow each other")
            deltas.append(Delta(record, record))
            self._adding = False
        else:
            deltas[-1].after = record
            self._adding = True

    def _lone(self) -> bool:
        """One SOA and nothing else in the first message of an IXFR."""
        if self._form or self._messages != 1 or self._first is None:
            return False
        # a newer one: the rest follows, in messages of one record each
        return self._serial is None or not newer(serial_of(self._first.rdata), self._serial)


def apply(zone: Zone, deltas: Iterable[Delta]) -> tuple[list[RRset], list[RRset]]:
    """What is to be removed from the zone and added to it, so that all steps are done.

    Strict: raises TransferFault for a step from another serial, or without a record that it wants removed; then the
    two versions are not what the primary believes.
    """
    sets: dict[tuple[bytes, int], tuple[bytes, int, dict[bytes, bytes]]] = {}
    originals: dict[tuple[bytes, int], RRset | None] = {}

    def there(record: Record) -> tuple[bytes, int, dict[bytes, bytes]]:
        place = (record.owner.lower(), record.type)
        if place not in originals:
            rrset = originals[place] = zone.rrset(*place)
            if rrset is None:
                sets[place] = (record.owner, record.ttl, {})
            else:
                rdatas = {fold(rrset.type, rdata): rdata for rdata in rrset.rdatas}
                sets[place] = (rrset.owner, rrset.ttl, rdatas)
        return sets[place]

    serial = zone.serial
    for delta in deltas:
        if serial_of(delta.before.rdata) != serial:
            raise TransferFault(f"a step from serial {serial_of(delta.before.rdata)}, but here is {serial}")
        serial = serial_of(delta.after.rdata)
        for record in delta.removed:
            if there(record)[2].pop(fold(record.type, record.rdata), None) is None:
                what = f"{to_text(record.owner)} {types.type_name(record.type)}"
                raise TransferFault(f"{what} is to be removed and is not here")
        for record in delta.added:
            owner, _, rdatas = there(record)
            rdatas[fold(record.type, record.rdata)] = record.rdata
            sets[record.owner.lower(), record.type] = (owner if len(rdatas) > 1 else record.owner, record.ttl, rdatas)
        soa = delta.after
        there(soa)
        sets[soa.owner.lower(), types.SOA] = (soa.owner, soa.ttl, {soa.rdata: soa.rdata})
    removed = [rrset for rrset in originals.values() if rrset is not None]
    added = [RRset(owner, type, ttl, rdatas.values()) for (_, type), (owner, ttl, rdatas) in sets.items() if rdatas]
    return removed, added
