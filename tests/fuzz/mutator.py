"""A seeded mutator without feedback: what fuzzes where atheris has no wheel."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

LONGEST: Final = 4096
Target = Callable[[bytes], None]


def inputs(seeds: Sequence[bytes], tokens: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs, the seeds themselves first. The same for the same arguments."""
    yield from seeds[:count]
    source = random.Random(seed)
    for _ in range(count - len(seeds)):
        data = bytearray(source.choice(seeds))
        for _ in range(source.choice((1, 1, 2, 3, 8))):
            _mutate(data, seeds, tokens, source)
        yield bytes(data[:LONGEST])


def _mutate(data: bytearray, seeds: Sequence[bytes], tokens: Sequence[bytes], source: random.Random) -> None:
    at = source.randrange(len(data) + 1)
    stop = min(len(data), at + source.choice((1, 2, 4, 16, 64)))
    match source.randrange(8):
        case 0:
            data[at:stop] = bytes(source.randrange(256) for _ in range(stop - at))
        case 1:
            del data[at:stop]
        case 2:
            data[at:at] = source.choice(tokens)
        case 3:
            data[at:stop] = source.choice(tokens)
        case 4:
            data[at:at] = data[at:stop] * source.choice((1, 2, 50))
        case 5:
            other = source.choice(seeds)
            data[at:] = other[source.randrange(len(other) + 1) :]
        case 6 if at < len(data):
            data[at] ^= 1 << source.randrange(8)
        case _:
            data[at:at] = bytes((source.choice((0, 1, 9, 10, 13, 32, 44, 58, 127, 128, 255)),))
