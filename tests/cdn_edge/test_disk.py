"""What the disk tier is made with."""

from __future__ import annotations

from cdn_edge.config import Cache
from cdn_edge.disk import fingerprint


def test_what_is_on_disk_is_of_one_set_of_names_in_the_key() -> None:
    assert fingerprint(Cache(), (b"forwarded:",)) != fingerprint(Cache()) == fingerprint(Cache(size=1, disk="/x"))
