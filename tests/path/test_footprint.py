"""No process of the default stack takes 60 MB of memory."""

from __future__ import annotations

from tests.bench.meter import tree
from tests.support.stack import Stack

LIMIT = 60_000_000


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_memory_of_each_process(stack: Stack) -> None:
    stack.curl("/products/shoes")
    sizes = {f"{hop['name']} {pid}": resident(pid) for hop in stack.status()["hops"] for pid in tree(hop["pid"])}
    sizes["supervisor"] = resident(stack.status()["pid"])
    print({name: f"{size / 1e6:.0f} MB" for name, size in sizes.items()})
    assert max(sizes.values()) < LIMIT, sizes
    assert len(sizes) == 17
