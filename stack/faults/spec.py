"""One fault as data, and its text form: `lb-a>proxy-2 latency=200ms jitter=50ms share=0.2`.

Text, table of a file, JSON of the admin endpoint and keywords of a test are spellings of the same record.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from stack.config import values
from stack.config.base import Options, unit
from stack.errors import ConfigError

CLIENT: Final = "client"
"""Whoever is no hop of the stack: `client>edge-fra`."""
KINDS: Final = (
    "latency", "bandwidth", "down", "up", "refused", "reset", "blackhole", "slow_close", "truncate", "corrupt",
    "status", "drop", "rcode", "wrong_address", "lame",
)  # fmt: skip
"""Keys that do something; the others say how, when and to whom."""
EXAMPLE: Final = "lb-a>proxy-2 latency=200ms share=0.2"
HTTP_ONLY: Final = ("up", "reset", "blackhole", "slow_close", "corrupt", "status", "path", "method", "checks")
DNS_ONLY: Final = ("drop", "rcode", "wrong_address", "lame", "qname", "qtype", "source", "proto")
"""Keys that mean something on DNS servers alone."""
_ANSWERS: Final = ("refused", "blackhole", "status", "drop", "rcode", "wrong_address", "lame")
"""Kinds after which no other can have its turn."""
RCODES: Final = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "NOTAUTH")
PROTOS: Final = ("udp", "tcp", "tls", "https")
QTYPES: Final = (
    "A", "NS", "CNAME", "SOA", "PTR", "HINFO", "MX", "TXT", "RP", "AFSDB", "AAAA", "LOC", "SRV", "NAPTR", "CERT",
    "DNAME", "DS", "SSHFP", "RRSIG", "NSEC", "DNSKEY", "NSEC3", "NSEC3PARAM", "TLSA", "SMIMEA", "CDS", "CDNSKEY",
    "OPENPGPKEY", "KX", "CSYNC", "ZONEMD", "SVCB", "HTTPS", "SPF", "EUI48", "EUI64", "TKEY", "IXFR", "AXFR", "ANY",
    "URI", "CAA",
)  # fmt: skip
"""Types of records by name; others are written TYPE65280 (RFC 3597 §5)."""
LISTS: Final = ("method", "wrong_address", "qtype", "source", "proto")
"""Keys of several words, with commas between them."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# names of hops, and what a next hop without a name is called by: its address; each with * ? [ ] of a glob
_END = re.compile(r"[A-Za-z0-9._:/*?\[\]!-]{1,128}")
_ADDRESS = re.compile(r"[0-9a-fA-F:.*?\[\]]*[0-9:*][0-9a-fA-F:.*?\[\]]*")
_METHOD = re.compile(r"[A-Za-z]{1,16}")
_ARROW = re.compile(r"\s*(?:->|→|>)\s*")
_LONGEST: Final = 1024
_LONGEST_PATH: Final = 200
_MOST_METHODS: Final = 8
_MOST_WORDS: Final = 16
_DATABASE = re.compile(r"(?:db|database|postgres)", re.IGNORECASE)


def _wanted(text: str, of: str = "") -> dict[str, Any]:
    return {**(unit(of) if of else {}), "wanted": text}


Rate = Annotated[int, Meta(ge=1, le=10**12, extra=_wanted("bytes a second from 1, as 512, 64K or 2M", "bytes"))]
Offset = Annotated[int, Meta(ge=0, le=10**12, extra=_wanted("a size in bytes, as 512, 64K or 2M", "bytes"))]
Times = Annotated[int, Meta(ge=1, le=10**9, extra=_wanted("a whole number from 1"))]
Seed = Annotated[int, Meta(ge=0, le=10**9, extra=_wanted("a whole number from 0"))]
Delay = Annotated[float, Meta(ge=0.0001, le=604_800, extra=_wanted("a duration up to a week, as 500ms, 2s or 1m", "s"))]


class Fault(Options, frozen=True, kw_only=True):
    """A fault on a link `A>B` or a hop `B`; both may be patterns with `*`. At least one of KINDS is given."""

    name: Annotated[str, Meta(description="Its name in logs, metrics and `fault list`. Default: link and kinds.")]
    on: Annotated[str, Meta(description="Link as lb-a>proxy-2, edge-*>lb-a or client>edge-fra; or a hop as app-1.")]
    latency: Annotated[Delay | None, Meta(description="Before the request goes on.")] = None
    jitter: Annotated[Delay | None, Meta(description="The latency is longer or shorter by up to this, evenly.")] = None
    bandwidth: Annotated[Rate | None, Meta(description="Content a second of one request, in each direction.")] = None
    down: Annotated[Rate | None, Meta(description="Content of the response a second; wins over bandwidth.")] = None
    up: Annotated[Rate | None, Meta(description="Content of the request a second; wins over bandwidth.")] = None
    refused: Annotated[bool, Meta(description="The connection is refused.")] = False
    reset: Annotated[
        Offset | None, Meta(description="The connection is reset after this much content of the response.")
    ] = None
    blackhole: Annotated[bool, Meta(description="The request is taken and never answered.")] = False
    slow_close: Annotated[Delay | None, Meta(description="The last byte of the response comes this much late.")] = None
    truncate: Annotated[
        Offset | None, Meta(description="The response visibly ends after this much of its content.")
    ] = None
    corrupt: Annotated[
        Offset | None, Meta(description="The byte at this offset of the response's content is wrong.")
    ] = None
    status: Annotated[int | None, Meta(ge=400, le=599, description="Answered with this status in place of it.")] = None
    drop: Annotated[bool, Meta(description="DNS: the query is never answered.")] = False
    rcode: Annotated[str, Meta(description="DNS: answered with this rcode and nothing else, as SERVFAIL.")] = ""
    wrong_address: Annotated[
        tuple[str, ...],
        Meta(description="DNS: in place of the addresses of an answer, those of IPv4 and IPv6 by kind."),
    ] = ()
    lame: Annotated[
        bool, Meta(description="DNS: answered as by a server that has not got the zone: a referral up to the root.")
    ] = False
    share: Annotated[
        float, Meta(ge=0.0001, le=1, description="Share of the requests, by a random number of its own.")
    ] = 1.0
    first: Annotated[Times | None, Meta(description="Only the first so many requests; later ones succeed.")] = None
    count: Annotated[Times | None, Meta(description="It is injected so many times in all.")] = None
    lasts: Annotated[Delay | None, Meta(description="It ends by itself after this time.")] = msgspec.field(
        default=None, name="for"
    )
    path: Annotated[str, Meta(description="Only requests whose path fits this pattern, as /api/*.")] = ""
    method: Annotated[tuple[str, ...], Meta(description="Only requests with these methods.")] = ()
    qname: Annotated[str, Meta(description="DNS: only queries for names that fit this pattern, as www.*.")] = ""
    qtype: Annotated[tuple[str, ...], Meta(description="DNS: only queries of these types, as A,AAAA.")] = ()
    source: Annotated[
        tuple[str, ...], Meta(description="DNS: only queries from these addresses and networks, as 192.0.2.0/24.")
    ] = ()
    proto: Annotated[tuple[str, ...], Meta(description="DNS: only queries over udp, tcp, tls or https.")] = ()
    seed: Annotated[Seed | None, Meta(description="Seed of its random numbers. Default: from its name.")] = None
    checks: Annotated[
        bool | None,
        Meta(
            description="Whether health checks meet it too. Default: a link that always refuses or is a black hole "
            "fails its checks, any other fault leaves them alone."
        ),
    ] = None

    @property
    def begin(self) -> str:
        """Left end of a link; empty for a hop."""
        return self.on.rpartition(">")[0]

    @property
    def target(self) -> str:
        return self.on.rpartition(">")[2]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if _said(getattr(self, kind)))

    @property
    def meets_checks(self) -> bool:
        if self.checks is not None:
            return self.checks
        always = self.share == 1 and not (self.first or self.count or self.path or self.method)
        return always and (self.refused or self.blackhole)

    def given(self, keys: Iterable[str]) -> list[str]:
        """Which of these keys it has."""
        return [key for key in keys if getattr(self, _FIELDS[key].name) != _FIELDS[key].default]

    def unfit(self, *, dns: bool, link: bool) -> str:
        """Why it cannot act on a DNS server, or on a hop that speaks HTTP; on a link to one. Empty: it can."""
        if not dns:
            wrong = self.given(DNS_ONLY)
            return f"{_with_counterparts(wrong)} DNS alone, and this speaks HTTP" if wrong else ""
        if wrong := self.given(HTTP_ONLY):
            return f"{_with_counterparts(wrong)} HTTP alone, and this speaks DNS"
        if self.truncate:
            return "a DNS response is truncated as a whole: truncate, without a number"
        if link and (wrong := self.given(("bandwidth", "down", "source", "proto"))):
            return f"{' and '.join(wrong)} is for what a DNS server serves: put it on that server, as dns-shop"
        return ""

    def is_link(self, source: str, target: str) -> bool:
        """Whether it is on the link from `source` to `target`."""
        return bool(self.begin) and fnmatchcase(source, self.begin) and fnmatchcase(target, self.target)

    def is_hop(self, name: str) -> bool:
        return not self.begin and fnmatchcase(name, self.target)


def _said(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", ())  # 0 is an offset


_COUNTERPARTS: Final = {
    "drop": "blackhole", "rcode": "status", "wrong_address": "corrupt", "qname": "path", "qtype": "method",
    "blackhole": "drop", "status": "rcode", "corrupt": "wrong_address", "path": "qname", "method": "qtype",
    "reset": "refused", "up": "down", "slow_close": "down",
}  # fmt: skip


def _with_counterparts(keys: list[str]) -> str:
    """`status (here: rcode) is of`."""
    told = [f"{key} (here: {_COUNTERPARTS[key]})" if key in _COUNTERPARTS else key for key in keys]
    return f"{' and '.join(told)} {'is' if len(told) == 1 else 'are'} of"


_FIELDS: Final = {field.encode_name: field for field in msgspec.structs.fields(Fault)}
_KEYS: Final = tuple(name for name in _FIELDS if name not in ("name", "on"))


def parse(text: str, *, name: str = "") -> Fault:
    """From `LINK KEY=VALUE ...`, separated by blanks or semicolons. ConfigError says what was wanted."""
    if len(text) > _LONGEST:
        raise ConfigError(f"a fault is at most {_LONGEST} characters")
    return _parse(text, name)


def _parse(text: str, name: str) -> Fault:
    on, *words = _ARROW.sub(">", text.replace(";", " ")).split() or [""]
    if not on or "=" in on:
        raise ConfigError(f"a fault begins with the link or hop it is on, as {EXAMPLE}")
    given: dict[str, Any] = {}
    for word in words:
        key, mark, value = word.partition("=")
        if not mark and key in _FIELDS and values.is_bool(_FIELDS[key].type):
            value = "yes"
        elif not mark and key == "truncate":
            value = "0"
        elif not mark:
            raise ConfigError(
                f"{word!r}: {_unknown(key)}" if _key(key) not in _FIELDS else f"{word!r}: wanted {key}=VALUE"
            )
        if key in given:
            raise ConfigError(f"{key} is given twice")
        given[key] = value
    return from_table(name or given.pop("name", ""), {"on": on, **given})


def from_table(name: str, table: Mapping[str, Any]) -> Fault:
    """From the keys of `[faults.NAME]` or a JSON object: values as in text, or plain numbers, booleans and lists.

    ConfigError, in a line that begins with the key that is wrong.
    """
    found: dict[str, Any] = {}
    for given, value in table.items():
        key = _key(given)
        if key == "name":
            continue
        if key not in _FIELDS:
            raise ConfigError(f"{given}: {_unknown(given)}")
        if key in found:
            raise ConfigError(f"delay: it is the same as {key}, which is given too")
        found[key] = _value(key, value, given)
    on = _link(found.pop("on", ""))
    fault = Fault(
        name=name or _default_name(on, found), on=on, **{_FIELDS[key].name: item for key, item in found.items()}
    )
    _check(fault)
    return fault


def _key(given: str) -> str:
    key = given.replace("-", "_")
    return "latency" if key == "delay" else key


def show(fault: Fault) -> str:
    """The text that `parse` makes this fault of."""
    words = [fault.on]
    for key in _KEYS:
        field = _FIELDS[key]
        value = getattr(fault, field.name)
        if value == field.default:
            continue
        shown = ",".join(value) if key in LISTS else values.show(field.type, value)
        words.append(key if value is True and key != "checks" else f"{key}={shown}")
    written = " ".join(words)
    return written if _parse(written, "").name == fault.name else f"{written} name={fault.name}"


def as_table(fault: Fault) -> dict[str, Any]:
    """Plain values, only what was given: for JSON."""
    return {
        key: msgspec.to_builtins(getattr(fault, field.name))
        for key, field in _FIELDS.items()
        if getattr(fault, field.name) != field.default
    }


def is_address(text: str) -> bool:
    """Whether it is an IP address or a pattern of some, as 192.0.2.* or 192.0.2.7:53."""
    return _ADDRESS.fullmatch(text) is not None


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean latency?`, or nothing."""
    near = difflib.get_close_matches(word, list(known), 1, cutoff=0.55)
    return f"did you mean {near[0]}?" if near else ""


def _value(key: str, value: Any, given: str) -> Any:
    field = _FIELDS[key]
    if key in _DNS_VALUES:
        return _DNS_VALUES[key](value)
    if key == "method":
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(
            isinstance(word, str) and _METHOD.fullmatch(word) for word in words
        ):
            raise ConfigError(f"method={value}: wanted names of methods, as GET,HEAD")
        if len(words) > _MOST_METHODS:
            raise ConfigError(f"method: there are {len(words)}; at most {_MOST_METHODS} are taken")
        return tuple(word.upper() for word in words)
    try:
        return values.convert(field.type, value)
    except ValueError as error:
        raise ConfigError(f"{'delay' if given == 'delay' else key}={value}: {error}") from None


def _words(key: str, value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) and word for word in words):
        raise ConfigError(f"{key}={value}: wanted words with commas between them, as {_EXAMPLES[key]}")
    if len(words) > _MOST_WORDS:
        raise ConfigError(f"{key}: there are {len(words)}; at most {_MOST_WORDS} are taken")
    return [word.strip() for word in words]


def _rcode(value: Any) -> str:
    if not isinstance(value, str) or value.upper() not in RCODES:
        hint = nearest(value.upper(), RCODES) if isinstance(value, str) else ""
        raise ConfigError(f"rcode={value}: wanted one of {', '.join(RCODES)}{hint and '; ' + hint}")
    return value.upper()


def _qname(value: Any) -> str:
    """As it is compared: in lower case, and without the final dot but for the root."""
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= 255 or re.search(r"[\s;]", value):
        raise ConfigError(f"qname={value}: wanted a name or a pattern of names, as www.* or shop.test")
    return value.lower().removesuffix(".") or "."


def _types(value: Any) -> tuple[str, ...]:
    words = tuple(word.upper() for word in _words("qtype", value))
    for word in words:
        if word not in QTYPES and not (re.fullmatch(r"TYPE[0-9]{1,5}", word) and int(word[4:]) < 65536):
            hint = nearest(word, QTYPES) or "one without a name is written TYPE65280"
            raise ConfigError(f"qtype={word}: wanted types of records, as A,AAAA; {hint}")
    return words


def _networks(value: Any) -> tuple[str, ...]:
    words = tuple(_words("source", value))
    for word in words:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise ConfigError(f"source={word}: wanted addresses or networks, as 192.0.2.7 or 192.0.2.0/24") from None
    return words


def _addresses(value: Any) -> tuple[str, ...]:
    try:
        found = [ipaddress.ip_address(word) for word in _words("wrong_address", value)]
    except ValueError:
        raise ConfigError(
            f"wrong_address={value}: wanted addresses, as 192.0.2.66 or 192.0.2.66,2001:db8::66"
        ) from None
    return tuple(map(str, found))


def _protos(value: Any) -> tuple[str, ...]:
    words = tuple(word.lower() for word in _words("proto", value))
    for word in words:
        if word not in PROTOS:
            raise ConfigError(f"proto={word}: wanted {', '.join(PROTOS)}")
    return words


_EXAMPLES: Final = {"qtype": "A,AAAA", "source": "192.0.2.0/24", "wrong_address": "192.0.2.66", "proto": "udp,tcp"}
_DNS_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "rcode": _rcode, "qname": _qname, "qtype": _types, "source": _networks, "wrong_address": _addresses,
    "proto": _protos,
}  # fmt: skip


def _link(text: Any) -> str:
    if not isinstance(text, str) or not text:
        raise ConfigError('on: a fault is on a link or a hop, as on = "lb-a>proxy-2"')
    on = _ARROW.sub(">", text.strip())
    ends = on.split(">")
    if len(ends) > 2 or not all(map(_END.fullmatch, ends)):
        raise ConfigError(f"{text!r}: wanted a link as lb-a>proxy-2, edge-*>lb-a or client>edge-fra, or a hop as app-1")
    for end in ends:
        if _DATABASE.fullmatch(end):
            raise ConfigError(
                f"{text!r}: faults are on links and hops that speak HTTP or DNS; the database is not covered, "
                "so put it on the hop that asks it, as proxy-1>app-1"
            )
    if ends[-1] == CLIENT:
        raise ConfigError(f"{text!r}: a link goes from the asker to the asked, as {CLIENT}>edge-fra")
    return on


def _default_name(on: str, given: Mapping[str, Any]) -> str:
    """`lb-a>proxy-2 latency=..` is `lb-a-proxy-2-latency`."""
    kinds = [kind for kind in KINDS if _said(given.get(kind))]
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([on.replace("*", "any"), *kinds])).strip("-.")
    return plain[:64].strip("-.") or "fault"


def _check(fault: Fault) -> None:
    if not _NAME.fullmatch(fault.name):
        if "*" in fault.name or "?" in fault.name:
            raise ConfigError(f"name {fault.name!r}: the name of the fault; for one that is asked for say qname=")
        raise ConfigError(f"name {fault.name!r}: wanted up to 64 letters, digits, dots and dashes, as slow-proxy")
    if fault.jitter is not None and fault.latency is None:
        raise ConfigError("jitter goes with a latency, as latency=200ms jitter=50ms")
    if not fault.kinds:
        raise ConfigError(f"it does nothing; give a kind: {', '.join(KINDS)}, as {EXAMPLE}")
    http, dns = fault.given(HTTP_ONLY), fault.given(DNS_ONLY)
    if http and dns:
        raise ConfigError(f"{http[0]} is of HTTP and {dns[0]} of DNS; give a fault for each")
    answers = [kind for kind in fault.kinds if kind in _ANSWERS or (kind == "truncate" and dns)]
    if len(answers) > 1:
        raise ConfigError(f"{' and '.join(answers)} exclude each other; give two faults with a share each")
    if fault.path and (not fault.path.startswith(("/", "*")) or re.search(r"[\s;]", fault.path)):
        raise ConfigError(f"path={fault.path}: it begins with a slash and has no blanks, as /api/*")
    if not fault.path.isascii() or len(fault.path) > _LONGEST_PATH:  # as it is sent
        raise ConfigError(f"path: wanted up to {_LONGEST_PATH} characters of ASCII, others as %C3%A4")


def _unknown(key: str) -> str:
    return f"a fault has no such key; {nearest(key, _KEYS) or 'there are ' + ', '.join(_KEYS)}"
