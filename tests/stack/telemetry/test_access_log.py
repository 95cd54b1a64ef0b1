from __future__ import annotations

import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from stack.clock import VirtualClock
from stack.http.message import Peer, Request, TlsInfo
from stack.telemetry.access_log import AccessLog, without_secrets
from stack.telemetry.ended import Ended
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import INTERVAL

WALL = 1_700_000_000.25


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(time=WALL)


def exchange(clock: VirtualClock, target: bytes = b"/products/shoes", **changed: Any) -> Exchange:
    tls = TlsInfo("TLSv1.3", "c", "shop.test", "h2") if changed.pop("tls", False) else None
    fields = [(b"authorization", b"Bearer SECRET"), (b"cookie", b"session=SECRET")]
    authority, method = changed.pop("authority", b"shop.test:8443"), changed.pop("method", b"GET")
    request = Request(
        method, target, fields, authority=authority, scheme=b"https" if tls else b"http", version=b"2",
        peer=Peer("192.0.2.7", 4711, tls=tls),
    )  # fmt: skip
    made = Exchange("edge-fra", clock.now, request)
    made.request_id = made.trace_id = b"0af7651916cd43dd8448eb211c80319c"
    made.span_id = b"00f067aa0ba902b7"
    made.client, made.status, made.bytes_out = "192.0.2.7", 200, 1024
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def written(clock: VirtualClock, *exchanges: Exchange) -> list[str]:
    log = AccessLog("off", hop="edge-fra", clock=clock)
    return [log.line(item) for item in exchanges]


async def test_a_line_to_the_byte(clock: VirtualClock) -> None:
    one = exchange(clock, tls=True)
    await clock.advance(0.002)
    one.mark("lookup", "uri-miss")
    await clock.advance(0.0105)
    one.mark("fetch", "fetched")
    await clock.advance(0.5)
    one.upstream, one.attempts = "lb-a", 2
    [line] = written(clock, one)
    assert line == (
        '{"time":"2023-11-14T22:13:20.762Z","hop":"edge-fra","request_id":"0af7651916cd43dd8448eb211c80319c",'
        '"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00f067aa0ba902b7","client":"192.0.2.7",'
        '"method":"GET","scheme":"https","host":"shop.test:8443","path":"/products/shoes","proto":"2","status":200,'
        '"bytes":1024,"ms":512.500,"marks":[["lookup","uri-miss",2.000],["fetch","fetched",10.500]],'
        '"upstream":"lb-a","attempts":2,"tls":"TLSv1.3"}\n'
    )


def test_an_error_says_what_and_how_it_ended(clock: VirtualClock) -> None:
    [line] = written(
        clock,
        exchange(
            clock, status=502, proxy_status="connection_refused", detail='127.0.0.1:1: "no"', termination="upstream-cut"
        ),
    )
    found = json.loads(line)
    assert (found["proxy_status"], found["detail"], found["termination"]) == (
        "connection_refused", '127.0.0.1:1: "no"', "upstream-cut",
    )  # fmt: skip
    assert "upstream" not in found


def test_without_a_request_there_is_a_line_all_the_same(clock: VirtualClock) -> None:
    [line] = written(clock, exchange(clock, request=None, status=400))
    assert json.loads(line)["method"] == json.loads(line)["path"] == ""


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", "/a", None),
        (b"/a?", "/a", ""),
        (b"/a?b=1&c=2?3", "/a", "b=1&c=2?3"),
        (b'/"quoted"\\', '/"quoted"\\', None),
        (b'/a?q="\\', "/a", 'q="\\'),
        (b"/\x00\x1b[31m\n", "/\x00\x1b[31m\n", None),
        ("/ü".encode(), "/ü", None),
        (b"/\xff\xfe?\xff", "/\\xff\\xfe", "\\xff"),
        ("/\u2028".encode(), "/\u2028", None),
        (b"*", "*", None),
        (b"/?token=SECRET&x=1", "/", "token=***&x=1"),
        (b"/?x=1&access_token=SECRET", "/", "x=1&access_token=***"),
        (b"/?Password=SECRET&api_key=SECRET", "/", "Password=***&api_key=***"),
        (b'/?client_secret=SECRET"&y', "/", "client_secret=***&y"),
        (b"/?X-Amz-Signature=SECRET", "/", "X-Amz-Signature=***"),
        (b"/?key=SECRET&api-key=SECRET&sig=SECRET", "/", "key=***&api-key=***&sig=***"),
        (b"/?pwd=SECRET&basic_auth=SECRET&Credential=SECRET", "/", "pwd=***&basic_auth=***&Credential=***"),
        (b"/?to=/cb?token=SECRET=SECRET&x=1", "/", "to=/cb?token=***&x=1"),
        (b"/?keyword=shoes&author=me&token=", "/", "keyword=shoes&author=me&token="),
        (b"/?q=token", "/", "q=token"),
        (b"/?token", "/", "token"),
    ],
)
def test_whatever_a_client_sends_is_one_line_of_json_without_secrets(
    clock: VirtualClock, target: bytes, path: str, query: str | None
) -> None:
    [line] = written(clock, exchange(clock, target))
    assert line.count("\n") == 1
    found = json.loads(line)
    assert (found["path"], found.get("query")) == (path, query)
    assert "SECRET" not in line


@pytest.mark.parametrize(
    "query", ["token" * 400, "token=" * 400, "&token" * 400, "a" * 1000 + "key" * 400], ids=range(4)
)
def test_a_query_is_taken_apart_in_one_pass(query: str) -> None:
    """A client chooses it: what takes the cube of its length holds up everybody."""
    started = process_time()
    without_secrets(query)
    assert process_time() - started < 0.5


@pytest.mark.parametrize("name", ["authority", "method"])
@pytest.mark.parametrize("value", [b'x"y', b"x\ny", b"\xc3\xa9", b"\xff", b"\x7f"])
def test_no_part_of_a_request_breaks_out_of_its_string(clock: VirtualClock, name: str, value: bytes) -> None:
    [line] = written(clock, exchange(clock, **{name: value}))
    found = json.loads(line)
    assert found["status"] == 200
    key = "host" if name == "authority" else "method"
    assert found[key] == value.decode("utf-8", "backslashreplace")


def test_a_clients_name_cannot_break_out_either(clock: VirtualClock) -> None:
    [line] = written(clock, exchange(clock, client='_x","status":999,"y":"'))
    assert json.loads(line)["status"] == 200


async def test_time_moves_by_the_millisecond(clock: VirtualClock) -> None:
    log = AccessLog("off", hop="edge-fra", clock=clock)
    seen = []
    for step in (0.0, 0.0004, 0.001, 0.75, 86_400.0):
        await clock.advance(step)
        seen.append(json.loads(log.line(exchange(clock)))["time"])
    assert seen == [
        "2023-11-14T22:13:20.250Z", "2023-11-14T22:13:20.250Z", "2023-11-14T22:13:20.251Z",
        "2023-11-14T22:13:21.001Z", "2023-11-15T22:13:21.001Z",
    ]  # fmt: skip


async def test_finished_exchanges_reach_the_file_within_a_tenth_of_a_second(
    clock: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "access.log"
    log = AccessLog(str(path), hop="edge-fra", clock=clock)
    ended = Ended(clock, [log.write], within=INTERVAL)
    ended(exchange(clock))
    ended(exchange(clock, b"/two"))
    assert path.read_text() == ""
    await clock.advance(0.1)
    assert [json.loads(line)["path"] for line in path.read_text().splitlines()] == ["/products/shoes", "/two"]
    ended(exchange(clock, b"/three"))
    ended.close()
    log.close()
    assert len(path.read_text().splitlines()) == 3
    ended(exchange(clock, b"/late"))
    ended.close()
    assert len(path.read_text().splitlines()) == 3


async def test_off_writes_nothing(clock: VirtualClock, capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("off", hop="edge-fra", clock=clock)
    log.write([exchange(clock)])
    await clock.advance(1)
    log.close()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("target", "changed", "logged"),
    [
        (b"/health", {}, False),
        (b"/health", {"status": 399}, False),
        (b"/health", {"status": 400}, True),
        (b"/health", {"status": 404}, False),  # an app need not have that page
        (b"/other", {"status": 404}, True),
        (b"/health", {"status": 503}, True),
        (b"/health", {"termination": "client gone"}, True),
        (b"/health?verbose", {}, True),
        (b"/healthy", {}, True),
    ],
)
def test_a_success_that_is_asked_for_all_the_time_is_not_logged(
    clock: VirtualClock, tmp_path: Path, target: bytes, changed: dict[str, Any], logged: bool
) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path), hop="edge-fra", clock=clock, skip=("/health",))
    log.write([exchange(clock, target, **changed)])
    log.close()
    assert bool(path.read_text()) is logged


def test_controls_that_json_lets_stand_are_escaped_too(clock: VirtualClock) -> None:
    """U+009B is CSI to many a terminal: a log that is printed must not move its cursor."""
    target = "/a\x7f\x80\x9b31m\x9fz\u00a0".encode()
    [line] = written(clock, exchange(clock, target))
    assert "\\u007f\\u0080\\u009b31m\\u009fz" in line
    assert json.loads(line)["path"] == target.decode()
