"""One fault as text, as a table and back; what is wrong is said with its remedy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.errors import ConfigError
from stack.faults.spec import as_table, from_table, parse, show


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("lb-a>proxy-2 latency=200ms", {"latency": 0.2}),
        ("lb-a>proxy-2 latency=1 jitter=50ms share=0.2", {"latency": 1.0, "jitter": 0.05, "share": 0.2}),
        ("lb-a -> proxy-2  refused", {"refused": True}),
        ("lb-a → proxy-2 refused=yes first=3", {"refused": True, "first": 3}),
        ("lb-a>proxy-2;reset=64K;for=1m", {"reset": 65536, "lasts": 60.0}),
        ("lb-a>proxy-2 truncate=0", {"truncate": 0}),
        ("lb-a>proxy-2 slow-close=2s", {"slow_close": 2.0}),
        ("lb-a>proxy-2 slow_close=2s", {"slow_close": 2.0}),
        ("lb-a>proxy-2 status=503 path=/api/* method=get,POST", {"method": ("GET", "POST"), "path": "/api/*"}),
        ("lb-a>proxy-2 bandwidth=64K up=1K", {"bandwidth": 65536, "up": 1024}),
        ("lb-a>proxy-2 blackhole checks=no seed=7 count=2", {"checks": False, "seed": 7, "count": 2}),
        ("lb-a>proxy-2 corrupt=10 name=bad-byte", {"corrupt": 10, "name": "bad-byte"}),
    ],
)
def test_text(text: str, want: dict[str, Any]) -> None:
    fault = parse(text)
    assert fault.on == "lb-a>proxy-2"
    assert {key: getattr(fault, key) for key in want} == want
    assert parse(show(fault)) == fault


@pytest.mark.parametrize(
    ("on", "name"),
    [
        ("lb-a>proxy-2", "lb-a-proxy-2-refused"),
        ("edge-*>lb-a", "edge-any-lb-a-refused"),
        ("app-1", "app-1-refused"),
        ("lb>http://127.0.0.1:80", "lb-http-127.0.0.1-80-refused"),
    ],
)
def test_the_name_says_link_and_kinds_unless_given(on: str, name: str) -> None:
    fault = parse(f"{on} refused")
    assert fault.name == name
    assert "name=" not in show(fault)
    assert parse(f"{on} refused", name="mine").name == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a fault begins with the link or hop it is on, as lb-a>proxy-2 latency=200ms"),
        ("latency=200ms", "a fault begins with the link or hop"),
        ("a>b", "it does nothing; give a kind: latency, bandwidth"),
        ("a>b share=0.5", "it does nothing"),
        ("a>b latncy=1", "latncy: a fault has no such key; did you mean latency?"),
        ("a>b latncy", "'latncy': a fault has no such key; did you mean latency?"),
        ("a>b zzz=1", "zzz: a fault has no such key; there are latency, jitter"),
        ("a>b latency", "'latency': wanted latency=VALUE"),
        ("a>b latency=fast", "latency=fast: wanted a duration up to a week, as 500ms"),
        ("a>b latency=-1", "latency=-1: wanted a duration"),
        ("a>b latency=nan", "latency=nan: wanted a duration"),
        ("a>b latency=1 latency=2", "latency is given twice"),
        ("a>b jitter=1", "jitter goes with a latency"),
        ("a>b status=200", "status=200: wanted a whole number from 400 up to 599"),
        ("a>b status=503 refused", "refused and status exclude each other"),
        ("a>b refused share=0", "share=0: wanted a number from 0.0001 up to 1"),
        ("a>b refused share=2", "share=2: wanted"),
        ("a>b refused first=0", "first=0: wanted a whole number from 1"),
        ("a>b refused path=api", "path=api: it begins with a slash"),
        ("a>b refused method=G3T", "method=G3T: wanted names of methods"),
        ("a>b refused=maybe", "refused=maybe: wanted yes or no"),
        ("a>b bandwidth=0", "bandwidth=0: wanted bytes a second from 1"),
        ("a>b refused name=/x", "name '/x': wanted up to 64 letters"),
        ("a>b>c refused", "'a>b>c': wanted a link as lb-a>proxy-2"),
        (">b refused", "'>b': wanted a link"),
        ("a>client refused", "'a>client': a link goes from the asker to the asked"),
        (
            "app-1>db latency=1",
            "'app-1>db': faults are on links and hops that speak HTTP or DNS; the database is not covered",
        ),
        ("a>b refused path=/" + 2000 * "x", "a fault is at most 1024 characters"),
        ("a>b refused path=/" + 200 * "x", "path: wanted up to 200 characters of ASCII"),
        ("a>b refused path=/\u00e4", "path: wanted up to 200 characters of ASCII, others as %C3%A4"),
        ("a>b refused method=\u00c9T", "wanted names of methods"),
        ("a>b refused method=" + ",".join("ABCDEFGHI"), "method: there are 9; at most 8 are taken"),
        ("postgres latency=1", "the database is not covered"),
    ],
)
def test_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("dns-shop drop", {"drop": True}),
        ("dns-shop delay=2s jitter=1s", {"latency": 2.0, "jitter": 1.0}),
        ("dns-shop rcode=ServFail qname=WWW.*.", {"rcode": "SERVFAIL", "qname": "www.*"}),
        ("dns-shop lame qname=.", {"lame": True, "qname": "."}),
        ("dns-shop truncate", {"truncate": 0}),
        ("dns-shop wrong_address=192.0.2.66,2001:DB8::66", {"wrong_address": ("192.0.2.66", "2001:db8::66")}),
        ("dns-shop drop qtype=a,type65280", {"qtype": ("A", "TYPE65280")}),
        (
            "dns-shop drop source=192.0.2.7,2001:db8::/32 proto=UDP",
            {"source": ("192.0.2.7", "2001:db8::/32"), "proto": ("udp",)},
        ),
        ("dns-shop down=100 first=3 for=30s", {"down": 100, "first": 3, "lasts": 30.0}),
    ],
)
def test_text_of_faults_on_dns(text: str, want: dict[str, Any]) -> None:
    fault = parse(text)
    assert {key: getattr(fault, key) for key in want} == want
    assert parse(show(fault)) == fault
    assert from_table(fault.name, as_table(fault)) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a rcode=SERVFIAL", "rcode=SERVFIAL: wanted one of NOERROR, FORMERR"),
        ("a rcode=SERVFIAL", "did you mean SERVFAIL?"),
        ("a wrong_address=ns.test", "wanted addresses, as 192.0.2.66"),
        ("a drop qtype=AAA", "qtype=AAA: wanted types of records, as A,AAAA; did you mean AAAA?"),
        ("a drop qtype=TYPE70000", "one without a name is written TYPE65280"),
        ("a drop qtype=", "wanted words with commas between them"),
        ("a drop qtype=" + ",".join(["A"] * 17), "there are 17; at most 16 are taken"),
        ("a drop source=192.0.2.0/33", "wanted addresses or networks"),
        ("a drop proto=quic", "proto=quic: wanted udp, tcp, tls, https"),
        ("a drop qname=", "wanted a name or a pattern of names"),
        ("a qname=www.*", "it does nothing; give a kind"),
        ("a drop refused", "refused and drop exclude each other"),
        ("a rcode=REFUSED lame", "rcode and lame exclude each other"),
        ("a truncate drop", "truncate and drop exclude each other"),
        ("a drop status=503", "status is of HTTP and drop of DNS; give a fault for each"),
        ("a latency=1 delay=2", "delay: it is the same as latency"),
        ("a delay", "'delay': wanted delay=VALUE"),
        ("a delay=soon", "delay=soon: wanted a duration up to a week"),
        ("a drop name=www.*", "for one that is asked for say qname="),
    ],
)
def test_what_is_wrong_of_faults_on_dns(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_has_plain_values_too() -> None:
    table = {"on": "lb-a>proxy-2", "latency": 0.2, "share": 1, "reset": 100, "method": ["GET"], "for": "30s"}
    fault = from_table("slow", table)
    assert (fault.name, fault.latency, fault.reset, fault.method, fault.lasts) == ("slow", 0.2, 100, ("GET",), 30.0)
    assert from_table("slow", as_table(fault)) == fault


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"latency": 1}, 'on: a fault is on a link or a hop, as on = "lb-a>proxy-2"'),
        ({"on": 3, "latency": 1}, "on=3: wanted text"),
        ({"on": "a>b", "refused": 1}, "refused=1: wanted yes or no"),
        ({"on": "a>b", "latency": {}}, "latency={}: wanted a duration"),
        ({"on": "a>b", "latency": True}, "latency=True: wanted a duration"),
        ({"on": "a>b", "latency": 10**400}, "wanted a duration"),
        ({"on": "a>b", "truncate": 10**400}, "wanted a size"),
        ({"on": "a>b", "refused": True, "path": "/\ud800"}, "path: wanted up to 200 characters of ASCII"),
        ({"on": "a>b", "reset": 1.5}, "reset=1.5: wanted a size"),
        ({"on": "a>b", "refused": True, "method": [1]}, "method=[1]: wanted names of methods"),
    ],
)
def test_what_is_wrong_in_a_table(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_table("x", table)
    assert says in str(raised.value)


def test_the_longest_fault_has_a_text_too() -> None:
    """As the page `/-/faults` and the log show it."""
    sizes = dict.fromkeys(("bandwidth", "down", "up", "reset", "truncate", "corrupt"), 999_999_999_999)
    times = dict.fromkeys(("first", "count", "seed"), 999_999_999)
    table = {
        **dict.fromkeys(("latency", "jitter", "slow_close", "for"), 604_799.999),
        **{**sizes, **times, "status": 599, "share": 0.1234, "checks": True},
        "on": f"{'a' * 128}>{'b' * 128}",
        "path": "/" + 199 * "*",
        "method": 8 * ["A" * 16],
    }
    fault = from_table("n" * 64, table)
    assert parse(show(fault)) == fault


@pytest.mark.parametrize(
    ("on", "source", "target", "fits"),
    [
        ("lb-a>proxy-2", "lb-a", "proxy-2", True),
        ("lb-a>proxy-2", "lb-a", "proxy-1", False),
        ("edge-*>lb-a", "edge-fra", "lb-a", True),
        ("edge-*>lb-a", "lb-a", "lb-a", False),
        ("*>*", "x", "y", True),
        ("proxy-[12]>app-*", "proxy-2", "app-9", True),
        ("proxy-2", "lb-a", "proxy-2", False),
    ],
)
def test_links(on: str, source: str, target: str, fits: bool) -> None:
    fault = parse(f"{on} refused")
    assert fault.is_link(source, target) is fits


@pytest.mark.parametrize(
    ("text", "meets"),
    [
        ("a>b refused", True),
        ("a>b blackhole", True),
        ("a>b refused share=0.5", False),
        ("a>b refused first=1", False),
        ("a>b refused path=/x", False),
        ("a>b latency=1s", False),
        ("a>b status=503", False),
        ("a>b status=503 checks=yes", True),
        ("a>b refused checks=no", False),
    ],
)
def test_whom_a_check_meets(text: str, meets: bool) -> None:
    assert parse(text).meets_checks is meets


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab>=*-.;lr 0159%K\u00e9\n", max_size=40) | st.text(max_size=20))
def test_any_text_is_a_fault_or_an_error_in_one_line(text: str) -> None:
    try:
        fault = parse(text)
    except ConfigError:
        return
    assert parse(show(fault)) == fault


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.text(max_size=4))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [*as_table(parse("a>b refused")), "latency", "for", "method", "share", "seed", "path", "checks"]
        )
        | st.text(max_size=6),
        VALUES | st.dictionaries(st.text(max_size=2), VALUES, max_size=2),
        max_size=4,
    ),
    st.sampled_from([{}, {"on": "a>b", "refused": True}, {"on": "a>b", "status": 503}]),
)
def test_any_table_is_a_fault_or_an_error(table: dict[str, Any], base: dict[str, Any]) -> None:
    try:
        fault = from_table("x", {**table, **base})
    except ConfigError:
        return
    assert from_table("x", as_table(fault)) == fault
    assert parse(show(fault)) == fault


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "share": st.floats(0.0001, 1),
            "latency": st.floats(0.0001, 604_800),
            "reset": st.integers(0, 10**12),
            "seed": st.integers(0, 10**9),
            "first": st.integers(1, 10**9),
        }
    )
)
def test_any_number_keeps_its_value_in_text(table: dict[str, Any]) -> None:
    fault = from_table("x", {"on": "a>b", **table})
    assert parse(show(fault)) == fault
