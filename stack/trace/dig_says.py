"""What a response means, in a line: the words that the RFCs use, and what to do next."""

from __future__ import annotations

from typing import Final

from stack.trace.dig_message import EXTENDED, Record, Response

ANSWERED: Final = "answered"
REFERRAL: Final = "referral"
ABSENT: Final = "absent"
FAILED: Final = "failed"


def outcome(response: Response) -> str:
    """`answered`, `referral`, `absent` (NXDOMAIN, NODATA) or `failed`."""
    if response.status == "NXDOMAIN":
        return ABSENT
    if response.status != "NOERROR" or "tc" in response.flags or _is_lame(response):
        return FAILED
    if _wanted(response):
        return ANSWERED
    if _delegation(response) is not None:
        return REFERRAL
    return ABSENT


def meaning(response: Response) -> str:
    """One line."""
    said = _meaning(response)
    told = [_extended(code, text) for code, text in (response.edns.errors if response.edns is not None else ())]
    return f"{said}; it says: {'; '.join(told)}" if told else said


def _meaning(response: Response) -> str:
    asked = response.questions[0] if response.questions else None
    name, type = (asked.name, asked.type) if asked is not None else ("the name", "")
    match response.status:
        case "NOERROR":
            return _noerror(response, name, type)
        case "NXDOMAIN":
            end = _alias_end(response, name)
            alias = f"an alias of {end}, which" if end != name else f"{name}"
            return f"{alias} does not exist, and nothing below it{_for_how_long(response)}"
        case "REFUSED":
            return "the server will not answer: it has no zone with this name, or this client may not ask"
        case "SERVFAIL":
            return "the server failed: it could not find out, or its zone is not usable"
        case "FORMERR":
            return "the server could not read the query, or not what is in its EDNS (try --no-edns)"
        case "NOTIMP":
            return "the server does not know this kind of query"
        case "BADVERS":
            return "the server does not speak this version of EDNS"
        case "BADCOOKIE":
            return "the server wants its cookie back: ask again with the one that it gave, or over TCP"
        case "NOTAUTH":
            return "the server is not authoritative for the zone, or does not believe the signature"
        case other:
            return f"the server says {other}"


def _noerror(response: Response, name: str, type: str) -> str:
    if "tc" in response.flags:
        return "truncated: what came is not to be used; ask over TCP"
    wanted = _wanted(response)
    end = _alias_end(response, name)
    alias = f"an alias of {end}" if end != name else ""
    if wanted:
        count = f"{len(wanted)} record{'s' if len(wanted) > 1 else ''}"
        who = "from the zone itself" if "aa" in response.flags else _not_authoritative(response)
        return f"{alias + ', which has ' if alias else ''}{count}, {who}"
    if _is_lame(response):
        return f"lame: it refers up, to {_refers_to(response)}, for it has not got the zone of {name}"
    if (cut := _delegation(response)) is not None:
        return f"a referral: ask the servers of {cut}: {', '.join(_servers(response, cut))}"
    if alias:
        return f"{alias}, and no more is said here: ask for that name"
    if any(record.type == "SOA" for record in response.authority):
        return f"NODATA: {name} exists and has no {type} records{_for_how_long(response)}"
    return f"NODATA: no {type} records, and no SOA that says for how long"


def _wanted(response: Response) -> list[Record]:
    types = {one.type for one in response.questions}
    if types & {"ANY", "AXFR", "IXFR"}:
        return list(response.answer)
    return [record for record in response.answer if record.type in types]


def _not_authoritative(response: Response) -> str:
    return "from the resolver" if "ra" in response.flags else "without authority: from a cache, or of a lame server"


def _alias_end(response: Response, name: str) -> str:
    """Where the aliases of the answer lead, as far as it says."""
    aliases = {record.name.lower(): record.data for record in response.answer if record.type == "CNAME"}
    types = {one.type for one in response.questions}
    if "CNAME" in types or "ANY" in types:
        return name
    for _ in range(len(aliases)):
        found = aliases.get(name.lower())
        if found is None:
            break
        name = found
    return name


def _delegation(response: Response) -> str | None:
    """The zone that it refers to: below what was asked for nowhere, above it somewhere (RFC 1034 §4.3.2, step 3b)."""
    if "aa" in response.flags or not response.questions:
        return None
    asked = response.questions[0].name.lower()
    for record in response.authority:
        owner = record.name.lower()
        if record.type == "NS" and owner != "." and (asked == owner or asked.endswith(f".{owner}")):
            return record.name
    return None


def _refers_to(response: Response) -> str:
    return next((record.name for record in response.authority if record.type == "NS"), "")


def _is_lame(response: Response) -> bool:
    """A referral that leads up (RFC 9499 §7): to the root, from who does not recurse."""
    return (
        response.status == "NOERROR"
        and not response.answer
        and not {"aa", "ra"} & set(response.flags)
        and _refers_to(response) == "."
    )


def _servers(response: Response, cut: str) -> list[str]:
    glue = {record.name.lower(): record.data for record in response.additional if record.type in ("A", "AAAA")}
    hosts = [record.data for record in response.authority if record.type == "NS" and record.name == cut]
    return [f"{host} at {glue[host.lower()]}" if host.lower() in glue else host for host in hosts]


def _for_how_long(response: Response) -> str:
    """RFC 2308 §5: the lesser of the SOA's TTL and its last field."""
    for record in response.authority:
        if record.type == "SOA" and (minimum := record.data.rpartition(" ")[2]).isdigit():
            return f"; that may be kept {min(record.ttl, int(minimum))} s"
    return ""


def _extended(code: int, text: str) -> str:
    word = EXTENDED.get(code, f"extended error {code}")
    return f"{word} ({text})" if text and code else text or word
