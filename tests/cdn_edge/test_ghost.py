"""The names of what left the store lately."""

from __future__ import annotations

from cdn_edge.ghost import Ghost


def test_the_latest_are_known_once() -> None:
    ghost = Ghost(1024)
    for name in range(100):
        ghost.add(name)
    assert not ghost.take(1000, 100)
    assert ghost.take(99, 1)
    assert not ghost.take(99, 100)
    assert not ghost.take(98, 1)
    assert ghost.take(50, 50)
    assert not ghost.take(49, 50)


def test_most_of_as_many_as_it_is_made_for_are_known() -> None:
    ghost = Ghost(4096)
    for name in range(20_000):
        ghost.add(hash((b"%d" % name, ())))
    known = sum(ghost.take(hash((b"%d" % name, ())), 4096) for name in range(20_000))
    assert 4096 * 0.75 < known <= 4096
    assert ghost.bytes == 4096 * 8


def test_put_in_again_it_is_there_once() -> None:
    ghost = Ghost(8)
    for _ in range(10):
        ghost.add(5)
    assert ghost.take(5, 1)
    assert not ghost.take(5, 100)
