"""A generation of processes: in several steps, then all at once or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stack.clock import eventually
from stack.errors import ConfigError
from stack.hop.child import State
from tests.stack.hop.test_master import WAIT, Stage, is_alive, stage

__all__ = ["stage"]


async def test_nothing_is_seen_of_it_until_it_is_committed(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.start(stage.hello("c"))
    await stage.master.wait_ready(timeout=WAIT)
    old, gone = stage.pid("a"), stage.pid("c")
    stage.events.clear()
    coming = stage.master.generation()
    await coming.start(stage.hello("b"), timeout=WAIT)
    await coming.start(stage.hello("a"), timeout=WAIT)
    assert stage.events == []
    assert set(stage.master.statistics()) == {"a", "c"}
    assert stage.pid("a") == old
    coming.commit(without=["c"])
    assert set(stage.master.statistics()) == {"a", "b"}
    assert stage.pid("a") != old
    assert [(event.name, event.new, event.reason) for event in stage.events] == [
        ("b", State.READY, "added"), ("a", State.READY, "replaced")]  # fmt: skip
    assert is_alive(old)
    await coming.retire([["a"], ["c"]], timeout=WAIT)
    assert not is_alive(old)
    assert not is_alive(gone)
    assert len(stage.events) == 2, "who leaves does so silently"
    assert stage.master._beside == []


async def test_undone_it_has_never_been(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    old = stage.pid("a")
    stage.events.clear()
    coming = stage.master.generation()
    await coming.start(stage.hello("b"), timeout=WAIT)
    with pytest.raises(ConfigError, match=r"^a failed: "):
        await coming.start(stage.hello("a", "--failing", "config"), timeout=WAIT)
    new = next(run.standing().pid for run in stage.master._beside if run.child.name == "b")
    assert new is not None
    await coming.undo([["b"], ["a"]], timeout=WAIT)
    assert not is_alive(new)
    assert stage.pid("a") == old
    assert stage.events == []
    assert stage.master._beside == []


async def test_who_is_excused_may_be_unready_but_not_fail(stage: Stage, tmp_path: Path) -> None:
    coming = stage.master.generation()
    await coming.start(stage.hello("a", "--unready"), stage.hello("b"), timeout=WAIT, excused={"a"})
    coming.commit()
    assert stage.state("a") is State.NOT_READY
    assert stage.state("b") is State.READY
    with pytest.raises(ConfigError, match=r"^c failed: "):
        await stage.master.generation().start(stage.hello("c", "--failing", "config"), timeout=WAIT, excused={"c"})
    with pytest.raises(ConfigError, match=r"not ready within .* d is not-ready"):
        await stage.master.generation().start(stage.hello("d", "--unready"), timeout=2.5, excused={"a"})


async def test_a_stop_stops_the_generation_beside_with_its_group(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    coming = stage.master.generation()
    starting = asyncio.ensure_future(coming.start(stage.hello("a", "--unready"), timeout=WAIT))
    await eventually(lambda: any(run.state is State.NOT_READY for run in stage.master._beside), within=WAIT)
    new = stage.master._beside[0].standing().pid
    assert new is not None
    await stage.master.stop([["a"]], timeout=WAIT)
    assert not is_alive(new)
    with pytest.raises(ConfigError):
        await starting
