"""Zones that are not quite right, before our reader and before those of BIND, Knot and NSD.

`named-checkzone -i full`, `knotc zone-check` and `nsd-checkzone`. We refuse what most of them refuse; where one says
otherwise than we do it is listed, and why.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from dns_server.rules.names import from_text
from dns_server.zonefile import load
from stack.errors import ConfigError
from tests.conftest import find

HEAD: Final = "$TTL 1h\n@ IN SOA ns h 1 7200 3600 1209600 300\n@ IN NS ns\nns IN A 192.0.2.1\n"
SOA: Final = "SOA ns h 1 7200 3600 1209600 300\n"

REFUSED: Final = {
    "address": "a A 192.0.2.999\n", "aaaa": "a AAAA 1::2::3\n", "type": "a NOSUCH x\n", "class": "a CH A 192.0.2.2\n",
    "rfc1034-3.6.2-cname": "a CNAME b\na A 192.0.2.2\n", "rfc2181-10.1": "a CNAME b\na CNAME c\n", "cname-at-apex": "@ CNAME a\n",
    "rfc6672-2.4-cname": "d DNAME e\nd CNAME e\n", "rfc6672-2.4": "d DNAME e\nd DNAME f\n", "soa-below": f"a {SOA}",
    "two-soas": f"@ {SOA.replace(' 1 ', ' 2 ')}", "outside": "a.example. A 192.0.2.2\n", "parenthesis": "a TXT ( x\n", "quote": 'a TXT "x\n',
    "long-label": "x" * 64 + " A 192.0.2.2\n", "long-name": ".".join(["y" * 60] * 4) + ".y.y.y A 192.0.2.2\n", "empty-label": "a..b A 192.0.2.2\n",
    "long-string": 't TXT "' + "x" * 256 + '"\n', "rfc3597-5-size": "u TYPE65280 \\# 3 abcd\n", "rfc3597-5-known": "a A \\# 3 c00002\n",
    "meta-type": "a TYPE252 \\# 0\n", "rfc6895-3.1-type-0": "a TYPE0 \\# 0\n", "opt": "a TYPE41 \\# 0\n", "directive": "$NOSUCH x\n", "include": "$INCLUDE none\n", "ttl": "a -1 A 192.0.2.2\n",
    "rfc9460-8-mandatory": "w HTTPS 1 . mandatory=port\n", "rfc9460-2.1-twice": "w HTTPS 1 . port=1 port=2\n", "escape": "a\\256 A 192.0.2.2\n",
    "no-soa": "", "no-ns": "",
}  # fmt: skip
TAKEN: Final = {
    "plain": "a A 192.0.2.2\n", "no-end-of-line": "a A 192.0.2.2", "crlf": "a A 192.0.2.2\r\nb A 192.0.2.3\r\n", "units": "a 1h30m A 192.0.2.2\n",
    "class-ttl": "a IN 1d A 192.0.2.2\n", "escaped": "a\\046b A 192.0.2.2\n", "rfc3597": "u TYPE65280 \\# 2 abcd\n",
    "rfc3597-known": "a A \\# 4 c0000202\n", "origin": "$ORIGIN sub.z.test.\na A 192.0.2.2\n", "generate": "$GENERATE 1-3 g$ A 192.0.2.$\n",
    "caa": 'a CAA 0 issue ";"\n', "https": "w HTTPS 1 . alpn=h2\n", "parentheses": "a TXT ( x\n y\n)\n", "no-glue": "s NS ns.s\n",
    "no-address": "s NS there\n", "ns-alias": "s NS al\nal CNAME ns\n", "mx-alias": "a MX 1 al\nal CNAME ns\n", "mx-no-address": "a MX 1 b\n",
    "ttls": "a 5 A 192.0.2.2\na 6 A 192.0.2.3\n", "twice": "a A 192.0.2.2\na A 192.0.2.2\n", "rfc4034-6.2-twice": "a CNAME x\na CNAME X\n", "rfc2181-8": "a 2147483648 A 192.0.2.2\n",
    "below-cut": "c NS ns.c\nns.c A 192.0.2.2\nb.c MX 1 x\n", "at-cut": "c NS ns.c\nns.c A 192.0.2.2\nc TXT x\n",
    "below-dname": "d DNAME e\na.d A 192.0.2.2\n", "wildcard-ns": "*.w NS ns\n", "ds": "a DS 1 13 2 " + "00" * 32 + "\n", "dot": "a.z.test A 192.0.2.2\n",
}  # fmt: skip
OTHERWISE: Final = {
    "named": {
        "outside": "it drops them with a warning; we let nobody believe that they are served",
        "wildcard-ns": "it refuses what RFC 4592 §4.2 leaves open",
    },
    "knot": {
        "outside": "it drops them with a warning",
        "soa-below": "it does not look",
        "two-soas": "it takes the last",
        "long-string": "it splits it",
        "rfc3597-5-known": "it does not look",
        "meta-type": "it does not look",
        "rfc6895-3.1-type-0": "it does not look",
        "opt": "it does not look",
        "escape": "it takes the number's low octet",
        "crlf": "it does not read such files",
        "generate": "it has no $GENERATE",
        "no-glue": "its semantic checks are fatal",
        "no-address": "its semantic checks are fatal",
        "ns-alias": "its semantic checks are fatal",
        "below-dname": "it refuses what is never served; to us it is a warning, as to BIND",
    },
    "nsd": {
        "no-ns": "it serves a zone without name servers",
        "parenthesis": "the end of the file closes it",
        "rfc3597-5-size": "it does not look",
        "meta-type": "it does not look",
        "opt": "it does not look",
        "escape": "it warns",
        "generate": "it has no $GENERATE",
        "below-dname": "it refuses what is never served; to us it is a warning, as to BIND",
    },
}


def write(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / "z.test.zone"
    whole = {"no-soa": HEAD.replace(f"@ IN {SOA}", ""), "no-ns": HEAD.replace("@ IN NS ns\n", "")}.get(
        name, HEAD + text
    )
    file.write_text(whole, newline="")
    return file


@pytest.mark.parametrize("name", [*REFUSED, *TAKEN])
def test_ours(name: str, tmp_path: Path) -> None:
    file = write(tmp_path, name, {**REFUSED, **TAKEN}[name])
    try:
        load(from_text("z.test"), file)
        told = ""
    except ConfigError as error:
        told = str(error)
    assert (str(file) in told) == (name in REFUSED)


CHECKERS: Final = {
    "named": ["named-checkzone", "-i", "full", "z.test", "{file}"],
    "knot": ["knotc", "-c", "{directory}/knot.conf", "-f", "zone-check", "z.test"],
    "nsd": ["nsd-checkzone", "z.test", "{file}"],
}


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param("named", marks=pytest.mark.needs("named-checkzone")),
        pytest.param("knot", marks=pytest.mark.needs("knotc")),
        pytest.param("nsd", marks=pytest.mark.needs("nsd-checkzone")),
    ],
)
def test_others(checker: str, tmp_path: Path) -> None:
    (tmp_path / "knot.conf").write_text(
        f'server:\n  rundir: "{tmp_path}"\ndatabase:\n  storage: "{tmp_path}"\n'
        f'zone:\n  - domain: z.test\n    storage: "{tmp_path}"\n    file: z.test.zone\n    semantic-checks: on\n'
    )
    differs = set()
    for name, text in {**REFUSED, **TAKEN}.items():
        file = write(tmp_path, name, text)
        program, *rest = CHECKERS[checker]
        argv = [find(program) or program, *(word.format(file=file, directory=tmp_path) for word in rest)]
        done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
        if (done.returncode == 0) != (name in TAKEN):
            differs.add(name)
    assert differs == set(OTHERWISE[checker])
