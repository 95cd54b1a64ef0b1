"""Server cookies: the examples of RFC 9018, how long one holds, whose it is, and which secrets are believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dns_server import cookies
from dns_server.config import Config
from dns_server.cookies import Cookies, Derived, Given, read_secrets, secrets
from stack.errors import ConfigError

FIRST = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
SECOND = bytes.fromhex("dd3bdf9344b678b185a6f5cb60fca715")
THIRD = bytes.fromhex("445536bcd2513298075a5d379663c962")


class Wall:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def judge(sent: str, client: str, now: float, *keys: bytes) -> tuple[str, bool]:
    judged = Cookies(Given(keys), time=Wall(now)).judge(bytes.fromhex(sent), client)
    assert judged is not None
    return judged[0].hex(), judged[1]


@pytest.mark.parametrize(
    ("sent", "client", "now", "keys", "answer", "right"),
    [
        ("2464c4abcf10c957", "198.51.100.100", 1559731985, (FIRST,), "2464c4abcf10c957010000005cf79f111f8130c3eee29480", False),
        ("2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385, (FIRST,),
         "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", True),
        ("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1559727985, (FIRST,),
         "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", True),
        ("22681ab97d52c298010000005cf7c57926556bd0934c72f8", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, (THIRD, SECOND),
         "22681ab97d52c298010000005cf7c57926556bd0934c72f8", True),
    ],
    ids=["rfc9018-a.1", "rfc9018-a.2", "rfc9018-a.3-reserved", "rfc9018-a.4-ipv6"],
)  # fmt: skip
def test_examples(sent: str, client: str, now: int, keys: tuple[bytes, ...], answer: str, right: bool) -> None:
    assert judge(sent, client, now, *keys) == (answer, right)


def test_a_client_of_ipv4_is_the_same_on_a_socket_of_ipv6() -> None:
    assert judge("2464c4abcf10c957", "::ffff:198.51.100.100", 1559731985, FIRST)[0].endswith("1f8130c3eee29480")


@pytest.mark.parametrize(
    ("later", "right", "renewed"),
    [(0, True, False), (1799, True, False), (1800, True, True), (3600, True, True), (3601, False, True),
     (-1, True, True), (-300, True, True), (-301, False, True), (2**31, False, True)],
)  # fmt: skip
def test_a_cookie_holds_for_an_hour_and_is_renewed_after_half_of_it(later: int, right: bool, renewed: bool) -> None:
    """RFC 9018 §4.3; one that comes from the future was made by a server whose clock is ahead."""
    wall = Wall(1_700_000_000)
    given = Cookies(Given([FIRST]), time=wall).judge(b"12345678", "192.0.2.1")
    assert given is not None
    wall.now += later
    judged = Cookies(Given([FIRST]), time=wall).judge(given[0], "192.0.2.1")
    assert judged is not None
    assert (judged[1], judged[0] != given[0]) == (right, renewed)


def test_time_goes_on_when_its_32_bits_have_run_over() -> None:
    wall = Wall(2**32 - 100)
    made = Cookies(Given([FIRST]), time=wall).judge(b"12345678", "192.0.2.1")
    assert made is not None
    for later, right in ((200, True), (4000, False)):
        wall.now = 2**32 - 100 + later
        for keys in (Given([FIRST]), Given([SECOND, FIRST])):
            judged = Cookies(keys, time=wall).judge(made[0], "192.0.2.1")
            assert judged is not None
            assert judged[1] is right


@pytest.mark.parametrize(
    ("client", "position", "key"),
    [("192.0.2.2", 0, FIRST), ("192.0.2.1", 3, FIRST), ("192.0.2.1", 8, FIRST), ("192.0.2.1", 9, FIRST), ("192.0.2.1", 23, FIRST),
     ("192.0.2.1", 0, SECOND)],
    ids=["address", "client-cookie", "version", "reserved", "hash", "secret"],
)  # fmt: skip
def test_a_cookie_is_of_one_client_and_one_secret(client: str, position: int, key: bytes) -> None:
    wall = Wall(1_700_000_000)
    made = Cookies(Given([FIRST]), time=wall).judge(b"12345678", "192.0.2.1")
    assert made is not None
    changed = bytearray(made[0])
    changed[position] ^= 1 if client == "192.0.2.1" and key == FIRST else 0
    judged = Cookies(Given([key]), time=wall).judge(bytes(changed), client)
    assert judged is not None
    assert not judged[1]
    again = Cookies(Given([key]), time=wall).judge(judged[0], client)
    assert again is not None
    assert again[1]


@pytest.mark.parametrize("size", [0, 1, 7, 9, 15, 41, 100])
def test_what_has_no_possible_length_is_no_cookie(size: int) -> None:
    assert Cookies(Given([FIRST]), time=Wall(0)).judge(bytes(size), "192.0.2.1") is None


def test_another_makers_cookie_is_answered_with_ours() -> None:
    for size in (16, 20, 40):
        judged = Cookies(Given([FIRST]), time=Wall(0)).judge(b"a" * size, "192.0.2.1")
        assert judged is not None
        assert not judged[1]
        assert judged[0][:8] == b"a" * 8


def test_what_is_remembered_ends_when_the_cookie_does() -> None:
    wall = Wall(1_700_000_000.5)
    judge = Cookies(Given([FIRST]), time=wall)
    made = judge.judge(b"12345678", "fe80::1%eth0")
    assert made is not None
    for step, right in ((1000, True), (1000, True), (1000, True), (700, False), (-3700, True)):
        wall.now += step
        judged = judge.judge(made[0], "fe80::1%eth0")
        assert judged is not None
        assert judged[1] is right, wall.now


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookies, "REMEMBERED", 10)
    judge = Cookies(Given([FIRST]), time=Wall(0))
    for number in range(100):
        judge.judge(number.to_bytes(8, "big"), "192.0.2.1")
        assert len(judge._known) <= 10


def test_a_secret_of_the_day_is_known_to_all_who_share_a_directory(tmp_path: Path) -> None:
    wall = Wall(1_700_000_000)
    mine, theirs = (Cookies(secrets(Config(), tmp_path), time=wall) for _ in range(2))
    elsewhere = Cookies(secrets(Config(), tmp_path / "other"), time=wall)
    wall.now = 86_400 * 20_000 - 10.0
    made = mine.judge(b"12345678", "192.0.2.1")
    assert made is not None
    wall.now += 20  # the next day
    assert theirs.judge(made[0], "192.0.2.1") == (made[0], True)
    told = elsewhere.judge(made[0], "192.0.2.1")
    assert told is not None
    assert not told[1]
    assert (tmp_path / "dns-cookies.key").stat().st_mode & 0o777 == 0o600
    of_days = Derived(lambda _: b"master")
    assert of_days.at(0) == of_days.at(86_399) != of_days.at(86_400)


def test_secrets_are_rolled_over_by_their_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"# in force\n{FIRST.hex()}\n\n{SECOND.hex().upper()}  # the old one\n")
    assert read_secrets(file).at(0) == [FIRST, SECOND]
    wall = Wall(1_700_000_000)
    made = Cookies(Given([SECOND]), time=wall).judge(b"12345678", "192.0.2.1")
    assert made is not None
    wall.now += 1800
    judged = Cookies(read_secrets(file), time=wall).judge(made[0], "192.0.2.1")
    assert judged is not None
    assert judged[1]
    by_first = Cookies(Given([FIRST]), time=wall).judge(judged[0], "192.0.2.1")
    assert by_first == (judged[0], True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no secret in it"), ("abc\n", "secrets:1: wanted 32 hex"), ("00" * 16 + "\n" + "00" * 15, "secrets:2: wanted 32"),
     ("ä", "not plain text"), (None, "No such file")],
)  # fmt: skip
def test_a_file_without_secrets_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "secrets"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        read_secrets(file)
    assert "--cookie-secret" in str(error.value)
