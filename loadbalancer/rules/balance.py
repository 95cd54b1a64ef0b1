"""Whose turn it is. Every rule returns the whole order of preference: failover is the next item.

Backends are indexes here; whoever calls knows what they stand for. Only backends that take requests are passed in, so
that a dead one leaves no gap that its neighbour would have to fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd


def ring(weights: Sequence[int]) -> tuple[int, ...]:
    """One round of smooth weighted round robin, as nginx walks it: 5/1/1 is a a b a c a a.

    Every turn each backend gains its weight, the richest is chosen and pays what all gained together. Weights are 1 or
    more. A round has as many turns as the weights together (in lowest terms).
    """
    if len(set(weights)) <= 1:
        return tuple(range(len(weights)))
    total = sum(weights)
    current = [0] * len(weights)
    laid: list[int] = []
    for _ in range(total // gcd(*weights)):
        current = [have + gain for have, gain in zip(current, weights, strict=True)]
        chosen = current.index(max(current))
        current[chosen] -= total
        laid.append(chosen)
    return tuple(laid)


class Wheel:
    """Round robin over one set of backends: the round laid out once, a turn is a look-up."""

    __slots__ = ("_others", "places", "ring", "weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = tuple(weights)
        self.ring = ring(self.weights)
        self.places = len(self.ring)
        self._others: dict[int, tuple[int, ...]] = {}

    def order(self, turn: int) -> tuple[int, ...]:
        """All backends: first the one whose turn it is, then the others by weighted round robin among themselves.

        The others' round moves on by one each lap. So the requests of one that fails are shared out by weight, where
        plain succession would give all of them to its neighbour.
        """
        if not self.places:
            return ()
        lap, place = divmod(turn, self.places)
        first = self.ring[place]
        others = self._without(first)
        if not others:
            return (first,)
        start = lap % len(others)
        return tuple(dict.fromkeys((first, *others[start:], *others[:start])))

    def _without(self, index: int) -> tuple[int, ...]:
        known = self._others.get(index)
        if known is None:
            rest = [i for i in range(len(self.weights)) if i != index]
            known = tuple(rest[place] for place in ring([self.weights[i] for i in rest]))
            self._others[index] = known
        return known


def least_connections(order: Sequence[int], loads: Sequence[int], weights: Sequence[int]) -> tuple[int, ...]:
    """By requests in flight for each unit of weight; equals stay in the given order (round robin's).

    Requests, not connections: a kept-alive connection or an h2 one says nothing about load.
    """
    return tuple(sorted(order, key=lambda i: loads[i] / weights[i]))
