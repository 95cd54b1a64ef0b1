"""What does not go together, though each value alone is fine."""

from __future__ import annotations

from collections.abc import Mapping

from stack.plan.draft import Stack
from stack.plan.model import HopPlan, Kinds


def check(stack: Stack, kinds: Kinds, hops: Mapping[str, HopPlan]) -> None:
    """Faults and warnings, with both places and the remedy."""
