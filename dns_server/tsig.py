"""Messages signed with a shared secret (TSIG, RFC 8945): requests are judged, responses signed, and the reverse."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from dns_server.rules import types
from dns_server.rules.names import to_text
from dns_server.rules.rdata import RdataFault, read_name
from dns_server.tsig_keys import Key
from stack.errors import ConfigError

FUDGE: Final = 300
"""Seconds that the clocks of both sides may differ in what we sign (RFC 8945 §10)."""
MAX_UNSIGNED: Final = 99
"""Messages of a sequence that may go unsigned between two that are (RFC 8945 §5.3.1)."""

BADSIG: Final = 16
BADKEY: Final = 17
BADTIME: Final = 18
BADTRUNC: Final = 22
ERRORS: Final[Mapping[int, str]] = {BADSIG: "BADSIG", BADKEY: "BADKEY", BADTIME: "BADTIME", BADTRUNC: "BADTRUNC"}

_ARCOUNT: Final = slice(10, 12)
_LEAST_MAC: Final = 10
"""Octets below which no MAC may be cut (RFC 8945 §5.2.2.1)."""


class TsigFault(ValueError):
    """A response that is not the other side's; says why."""


class Signer:
    """Signs the messages of one response in turn: one, or a sequence as a transfer's (RFC 8945 §5.3.1)."""

    def __init__(self, key: Key, mac: bytes, time: Callable[[], float]) -> None:
        """`mac`: that of the request; empty to sign a request."""
        self.key = key
        self.mac = mac
        """Of what was signed or seen last."""
        self._time = time
        self._context: Any = None

    def sign(self, message: bytes, *, error: int = 0, other: bytes = b"", time: int | None = None) -> bytes:
        """`message` with its TSIG."""
        key, original_id = self.key, message[:2]
        timers = _timers(int(self._time()) if time is None else time, FUDGE)
        mac, self._context = _digest(message, key, original_id, timers, error, other, self.mac, self._context)
        self.mac = mac
        rdata = b"%b%b%b%b%b%b%b%b" % (
            key.algorithm, timers, len(mac).to_bytes(2, "big"), mac,
            original_id, error.to_bytes(2, "big"), len(other).to_bytes(2, "big"), other,
        )  # fmt: skip
        return _attach(message, key.name, rdata)


class Signed:
    """A request that carried TSIG, judged. It is believed when `rcode` is 0."""

    def __init__(self, message: bytes, key: Key | None, signer: Signer | None, rcode: int = 0, error: int = 0) -> None:
        self.message = message
        """The request without its TSIG."""
        self.key = key
        """Whose it is; None unless it is believed."""
        self.rcode = rcode
        """NOTAUTH for one that is not believed, FORMERR for one that is malformed."""
        self.error = error
        """Of the TSIG, to be told to the client: BADSIG, BADKEY, BADTIME, BADTRUNC; else 0."""
        self._signer = signer
        self._time: int | None = None
        self._other = b""
        self._record = (b"", b"")

    @property
    def room(self) -> int:
        """Octets that signing adds to a response."""
        if self._signer is not None:
            key = self._signer.key
            return len(key.name) + 10 + len(key.algorithm) + 16 + key.size + len(self._other)
        owner, rdata = self._record
        return len(owner) + 10 + len(rdata) if owner else 0

    @property
    def word(self) -> str:
        """What is wrong, as in `BADSIG`; empty for one that is believed."""
        return ERRORS.get(self.error, types.rcode_name(self.rcode) if self.rcode else "")

    def sign(self, response: bytes) -> bytes:
        """The response as this client believes it. Further calls sign the further messages of the same response.

        BADSIG and BADKEY are told unsigned: there is no secret in common (RFC 8945 §5.3.2).
        """
        if self._signer is not None:
            return self._signer.sign(response, error=self.error, other=self._other, time=self._time)
        owner, rdata = self._record
        if not owner:
            return response
        return _attach(response, owner, rdata[:-6] + response[:2] + rdata[-4:])


class Keyring:
    """The keys that a server knows, and what it makes of a request by them."""

    def __init__(self, keys: Iterable[Key], time: Callable[[], float]) -> None:
        """`time`: seconds since the epoch."""
        self._keys: dict[bytes, Key] = {}
        self.keys: Mapping[bytes, Key] = MappingProxyType(self._keys)
        """By name, as they are now: whoever holds this sees them replaced."""
        self._needed: dict[bytes, str] = {}
        self._time = time
        self.replace(keys)

    def need(self, names: Iterable[bytes | None], option: str) -> None:
        """That option names these keys (None: no key): they must be here, now and after every `replace`. Raises
        ConfigError."""
        self._needed |= {name: option for name in names if name is not None}
        self._check(self._keys)

    def _check(self, keys: Mapping[bytes, Key]) -> None:
        for name, option in self._needed.items():
            if name not in keys:
                called = to_text(name).rstrip(".")
                raise ConfigError(f"{option}: no key is called {called}; give its file with --tsig-key FILE")

    def replace(self, keys: Iterable[Key]) -> None:
        """After the files have changed. Raises ConfigError when a key is gone that an option names; then all stay."""
        found = {key.name: key for key in keys}
        self._check(found)
        self._keys.clear()
        self._keys.update(found)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def judge(self, message: bytes) -> Signed | None:
        """None for a request without TSIG. Checked in the order of RFC 8945 §5.2: key, MAC, time, truncation. Never
        raises."""
        try:
            found = _split(message)
        except _Malformed:
            return Signed(message, None, None, types.FORMERR)
        if found is None:
            return None
        bare, owner, tsig = found
        key = self._keys.get(owner.lower())
        if key is None or key.algorithm != tsig.algorithm.lower():
            return _unsigned(bare, owner, tsig, BADKEY)
        if len(tsig.mac) > key.size or len(tsig.mac) < max(_LEAST_MAC, key.size // 2):
            return Signed(bare, None, None, types.FORMERR)  # §5.2.2.1
        mac, _ = tsig.digest(bare, key, b"", None)
        if not hmac.compare_digest(mac[: len(tsig.mac)], tsig.mac):
            return _unsigned(bare, owner, tsig, BADSIG)
        signer = Signer(key, tsig.mac, self._time)
        now = int(self._time())
        if abs(now - tsig.time) > tsig.fudge:
            # §5.2.3: signed, at the client's own time and with ours beside it, so that it can tell what is wrong
            signed = Signed(bare, None, signer, types.NOTAUTH, BADTIME)
            signed._time, signed._other = tsig.time, now.to_bytes(6, "big")
            return signed
        if len(tsig.mac) < key.size:
            return Signed(bare, None, signer, types.NOTAUTH, BADTRUNC)
        return Signed(bare, key, signer)


class Conversation:
    """The client's side: signs one request, and believes the messages of its response or not."""

    def __init__(self, key: Key, time: Callable[[], float]) -> None:
        self._key = key
        self._time = time
        self._mac = b""
        self._context: Any = None
        self._unsigned = 0

    def request(self, message: bytes) -> bytes:
        """The request with its TSIG."""
        signer = Signer(self._key, b"", self._time)
        signed = signer.sign(message)
        self._mac, self._context, self._unsigned = signer.mac, None, 0
        return signed

    def check(self, message: bytes) -> bytes:
        """A message of the response, without its TSIG. The first must be signed, and later ones often enough; that the
        last is, `finish` asks. Raises TsigFault."""
        try:
            found = _split(message)
        except _Malformed:
            raise TsigFault("the response's TSIG is malformed") from None
        if found is None:
            if self._context is None:
                raise TsigFault(f"the response is not signed with {to_text(self._key.name)}")
            self._unsigned += 1
            if self._unsigned > MAX_UNSIGNED:
                raise TsigFault(f"more than {MAX_UNSIGNED} messages of the response are not signed")
            self._context.update(message)
            return message
        bare, owner, tsig = found
        key = self._key
        if owner.lower() != key.name or tsig.algorithm.lower() != key.algorithm:
            raise TsigFault(f"the response is signed with {to_text(owner)} and not with {to_text(key.name)}")
        if tsig.error in (BADSIG, BADKEY):
            raise TsigFault(f"the server does not accept the key {to_text(key.name)}: {ERRORS[tsig.error]}")
        mac, self._context = tsig.digest(bare, key, self._mac, self._context)
        # what is cut is not what we sent, and so nobody's answer to it
        if not hmac.compare_digest(mac, tsig.mac):
            raise TsigFault(f"the response's signature with {to_text(key.name)} is wrong (BADSIG)")
        if tsig.error:
            detail = ""
            if tsig.error == BADTIME and len(tsig.other) == 6:
                behind = int.from_bytes(tsig.other, "big") - int(self._time())
                detail = f"; its clock is {abs(behind)} s {'ahead of' if behind > 0 else 'behind'} ours"
            raise TsigFault(f"the server refused the signature: {ERRORS.get(tsig.error, tsig.error)}{detail}")
        if abs(int(self._time()) - tsig.time) > tsig.fudge:
            raise TsigFault("the response was signed too long ago or too far ahead (BADTIME)")
        self._mac, self._unsigned = tsig.mac, 0
        return bare

    def finish(self) -> None:
        """After the last message. Raises TsigFault when it was not signed."""
        if self._context is None or self._unsigned:
            raise TsigFault("the last message of the response is not signed")


# The record.


class _Malformed(ValueError):
    pass


class _Tsig:
    """The rdata of a TSIG record (RFC 8945 §4.2)."""

    __slots__ = ("algorithm", "error", "fudge", "mac", "original_id", "other", "time", "wire")

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        try:
            self.algorithm, at = read_name(wire, 0)
        except RdataFault:
            raise _Malformed from None
        if len(wire) < at + 16:
            raise _Malformed
        self.time = int.from_bytes(wire[at : at + 6], "big")
        self.fudge = int.from_bytes(wire[at + 6 : at + 8], "big")
        size = int.from_bytes(wire[at + 8 : at + 10], "big")
        at += 10
        self.mac = wire[at : at + size]
        at += size
        if len(wire) < at + 6:
            raise _Malformed
        self.original_id = wire[at : at + 2]
        self.error = int.from_bytes(wire[at + 2 : at + 4], "big")
        self.other = wire[at + 6 :]
        if len(self.other) != int.from_bytes(wire[at + 4 : at + 6], "big"):
            raise _Malformed

    def digest(self, bare: bytes, key: Key, prior: bytes, context: Any) -> tuple[bytes, Any]:
        """What the MAC must be of the message that carries this, and how a sequence goes on."""
        timers = _timers(self.time, self.fudge)
        return _digest(bare, key, self.original_id, timers, self.error, self.other, prior, context)


def _split(message: bytes) -> tuple[bytes, bytes, _Tsig] | None:
    """The message without its TSIG, TSIG's owner and rdata; None for one without. Raises
    _Malformed for one that is not the last record, and for what is no message."""
    if len(message) < 12:
        raise _Malformed
    counts = [int.from_bytes(message[at : at + 2], "big") for at in (4, 6, 8, 10)]
    at = 12
    try:
        for _ in range(counts[0]):
            at = _skip_name(message, at) + 4
        records = sum(counts[1:])
        for number in range(records):
            start = at
            at = _skip_name(message, at)
            type, cls = message[at] << 8 | message[at + 1], message[at + 2] << 8 | message[at + 3]
            ttl = message[at + 4 : at + 8]
            rdata = at + 10
            at = rdata + (message[at + 8] << 8 | message[at + 9])
            if type != 250:
                continue
            # §5.1: the last record of the additional section, class ANY, TTL 0
            if number != records - 1 or not counts[3] or at != len(message) or cls != types.CLASS_ANY or any(ttl):
                raise _Malformed
            owner = read_name(message, start)[0]
            tsig = _Tsig(message[rdata:at])
            bare = message[:10] + (counts[3] - 1).to_bytes(2, "big") + message[12:start]
            return bare, owner, tsig
    except (IndexError, RdataFault):
        raise _Malformed from None
    return None


def _skip_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


def _attach(message: bytes, owner: bytes, rdata: bytes) -> bytes:
    count = int.from_bytes(message[_ARCOUNT], "big") + 1
    return b"%b%b%b%b\0\xfa\0\xff\0\0\0\0%b%b" % (
        message[:10], count.to_bytes(2, "big"), message[12:], owner, len(rdata).to_bytes(2, "big"), rdata,
    )  # fmt: skip


def _unsigned(bare: bytes, owner: bytes, tsig: _Tsig, error: int) -> Signed:
    """RFC 8945 §5.3.2: the client's own algorithm and time, no MAC."""
    signed = Signed(bare, None, None, types.NOTAUTH, error)
    times = _timers(tsig.time, tsig.fudge)
    signed._record = (owner, tsig.algorithm + times + b"\0\0" + bare[:2] + error.to_bytes(2, "big") + b"\0\0")
    return signed


def _timers(time: int, fudge: int) -> bytes:
    return time.to_bytes(6, "big") + fudge.to_bytes(2, "big")


def _digest(
    message: bytes, key: Key, original_id: bytes, timers: bytes, error: int, other: bytes, prior: bytes, context: Any
) -> tuple[bytes, Any]:
    """The MAC (RFC 8945 §4.3), and the context in which that of a sequence's next message begins (§5.3.1).

    `prior`: the request's MAC; `context`: what is left by the message before in a sequence, else None.
    """
    following = context is not None
    if not following:
        context = _context(key, prior)
    context.update(original_id)
    context.update(message[2:])
    if following:
        context.update(timers)
    else:
        context.update(key.name + b"\0\xff\0\0\0\0" + key.algorithm + timers)
        context.update(error.to_bytes(2, "big") + len(other).to_bytes(2, "big") + other)
    mac: bytes = context.digest()
    return mac, _context(key, mac)


def _context(key: Key, prior: bytes) -> Any:
    context = hmac.new(key.secret, digestmod=key.hash)
    if prior:
        context.update(len(prior).to_bytes(2, "big") + prior)
    return context
