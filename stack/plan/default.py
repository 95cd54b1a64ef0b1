"""The default stack: what a plan is when nothing is said."""

from __future__ import annotations

from pathlib import Path

from stack.plan.make import NAME, make_plan
from stack.plan.model import Kinds, StackPlan
from stack.plan.ports import Ports

__all__ = ["NAME", "Ports", "default_plan"]


def default_plan(
    kinds: Kinds, state_dir: Path, *, port_base: int | None = None, many_addresses: bool = True, database_url: str = ""
) -> StackPlan:
    """Root, TLD, zone, resolver; two edges; a load balancer; three hosts, each a proxy and its app; the demo shop."""
    return make_plan(
        None,
        kinds=kinds,
        state_dir=state_dir,
        environ={},
        many_addresses=many_addresses,
        given={"port_base": port_base, "database_url": database_url or None},
    )
