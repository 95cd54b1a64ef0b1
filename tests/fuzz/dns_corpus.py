"""Where fuzzing of DNS begins: real queries, the outside cases, and responses of our own."""

from __future__ import annotations

from dns_server.rules.names import from_text
from tests.support import dns_cases
from tests.support.dns_network import edns, question, respond, zones

_NAMES = ["www.example.test", "example.test", "nx.example.test", "a.wild.example.test", "x.sub.example.test", "foreign"]
_TYPES = ["A", "AAAA", "MX", "TXT", "SOA", "NS", "ANY", "HTTPS", "DS", "AXFR", "TYPE65280"]
_SIGNED = (
    b"\3key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0" + bytes(6) + b"\x01\x2c\0\0\xbe\xef\0\0\0\0"
)  # fmt: skip

TOKENS = [
    b"\xc0\x0c", b"\0", b"\x3f", b"\x40", b"\x80", b"\xff\xff", b"\0\x01", b"\0\x29", b"\0\xfa", b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    b"\0\x0a\0\x08abcdefgh", b"\0\x0a\0\x18" + b"x" * 24, b"\0\x03\0\0", b"\0\x0b\0\0", b"\0\x0c\0\x04\0\0\0\0", b"\0\x08\0\x07\0\1\x18\0\xc0\0\2",
    b"\3www", b"\7example\4test\0", b"\1*", _SIGNED, b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4\1\2\3\4", b"\x80", b"\x28\0", b"\x20\0",
]  # fmt: skip


def _queries() -> list[bytes]:
    opts = [
        b"", edns(), edns(512, flags=0x8000), edns(version=1), edns(options=b"\0\x0a\0\x08abcdefgh"),
        edns(options=b"\0\x0a\0\x18" + b"y" * 24), edns(options=b"\0\3\0\0\0\x0b\0\0"), edns(options=b"\0\x0c\0\2\0\0"),
        edns(options=b"\0\x08\0\7\0\1\x18\0\xc0\0\2"),
    ]  # fmt: skip
    found = [
        question(name, type, id=number, flags=0x100 * (number % 2), opt=opts[(number + at) % len(opts)])
        for number, name in enumerate(_NAMES)
        for at, type in enumerate(_TYPES)
    ]
    found += [question("WwW.eXample.test", cls=cls, opt=opt) for cls in (3, 4, 255) for opt in opts]
    found += [question("id.server", "TXT", cls=3), b"\0\1\0\0\0\0\0\0\0\0\0\1" + opts[4]]
    found += [question("example.test", "SOA", flags=opcode << 11, opt=opts[1]) for opcode in (1, 2, 4, 5, 6, 15)]
    signed = question("www.example.test")
    found.append(signed[:11] + b"\1" + signed[12:] + _SIGNED)
    return found + [dns_cases.query(case) for case in dns_cases.load()["cases"]]


def seeds(target: str) -> list[bytes]:
    queries = _queries()
    match target:
        case "dns-query":
            return [bytes((number % 3,)) + each for number, each in enumerate(queries)]
        case "dns-stream":
            framed = [len(each).to_bytes(2, "big") + each for each in queries]
            return [
                bytes((number * 7 % 64, number & 1)) + b"".join(framed[number : number + 1 + number % 6])
                for number in range(0, len(framed), 3)
            ]
        case _:
            served = {set: zones(texts) for set, texts in dns_cases.load()["zonesets"].items()}
            answers = [
                respond(served[case["zoneset"]], dns_cases.query(case), stream=True)
                for case in dns_cases.load()["cases"]
            ]
            packed = from_text("example.test") + b"\0\2\0\1" + b"\xc0\x0c\0\2\0\1\0\0\0\x05\0\4\1n\xc0\x0c"
            return [*(each for each in answers if each), b"\0\1\x80\0\0\1\0\1\0\0\0\0" + packed]
