from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.net.tickets import LIFETIME, SIZE, TicketSecret

NOW = 1_800_000_000.0


def test_workers_of_a_hop_have_the_same_secret_and_others_have_not(tmp_path: Path) -> None:
    one, other = TicketSecret(tmp_path / "t" / "app.key"), TicketSecret(tmp_path / "t" / "app.key")
    secret = one.current(NOW)
    assert len(secret) == SIZE
    assert other.current(NOW + 1) == secret == one.current(NOW + LIFETIME - 1)
    assert TicketSecret(tmp_path / "t" / "edge.key").current(NOW) != secret


def test_it_is_renewed_for_all_of_them(tmp_path: Path) -> None:
    one, other = TicketSecret(tmp_path / "app.key"), TicketSecret(tmp_path / "app.key")
    before = one.current(NOW)
    after = other.current(NOW + LIFETIME + 1)
    assert after != before
    assert one.current(NOW + LIFETIME + 2) == after
    assert before not in (tmp_path / "app.key").read_bytes()


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "app.key"
    secret = TicketSecret(path).current(NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)  # somebody may have read it
    assert TicketSecret(path).current(NOW) != secret
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [b"", b"short", os.urandom(200)])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "app.key"
    path.write_bytes(damage)
    path.chmod(0o600)
    assert len(TicketSecret(path).current(NOW)) == SIZE


def test_where_nothing_can_be_written_it_is_the_processs_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = TicketSecret(tmp_path / "file" / "app.key")
    secret = one.current(NOW)
    assert one.current(NOW + 5) == secret
    assert one.current(NOW + LIFETIME + 1) != secret
