"""`hopstack reload`: all of the new file or nothing of it, and no request lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.load import Load
from tests.support.project import Project, ended

SMALL = """
app = "application:app"
replicas = {replicas}

[edges.fra]
cache.size = "{cache}"

[balancers.a]
{balancer}
"""


def small(*, replicas: int = 2, cache: str = "64M", balancer: str = "") -> str:
    return SMALL.format(replicas=replicas, cache=cache, balancer=balancer)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with ended(Project(tmp_path_factory.mktemp("reload"))) as project:
        project.config(small())
        project.up()
        yield project


@pytest.fixture
def project(running: Project) -> Project:
    """As it was at first."""
    running.code()
    running.config(small())
    assert running.hopstack("reload").returncode == 0
    return running


async def reload(project: Project) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack", "reload"),
        env=project.env,
        cwd=project.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_no_request_is_lost_and_only_what_changed_is_replaced(project: Project) -> None:
    supervisor = project.status()["pid"]
    steps = [
        (small(cache="32M"), {"edge-fra"}, "edge-fra: cache.size 64M -> 32M"),
        (small(cache="32M", balancer='balance = "least-connections"'), {"lb-a"}, "lb-a: balance "),
        (small(replicas=3, cache="32M"), {"lb-a", "proxy-3", "app-3"}, "app-3: added"),
        (small(replicas=1, cache="32M"), {"lb-a", "proxy-2", "app-2", "proxy-3", "app-3"}, "proxy-2: removed"),
        (small() + "[timeouts]\nidle = 90\n", None, "proxy-1: timeouts.idle 75s -> 90s"),
    ]
    async with Load("127.0.1.1", project.base + 80, project.name) as load:
        for text, changed, line in steps:
            before, answered = project.pid_of(), load.answered
            project.config(text)
            status, out, err = await reload(project)
            assert status == 0, out + err
            assert line in out
            after = project.pid_of()
            replaced = {name for name in {*before, *after} if before.get(name) != after.get(name)}
            assert replaced == (changed or {*before, *after})
            await eventually(lambda answered=answered: load.answered > answered + 30, within=30)
    assert load.lost == []
    assert load.answered > 200
    assert project.status()["pid"] == supervisor
    assert {hop["state"] for hop in project.status()["hops"]} == {"ready"}
    assert not (project.home / "logs" / "supervisor.log").read_text().count("Traceback")
    assert " died" not in (project.home / "logs" / "supervisor.log").read_text()


def test_all_faults_are_told_and_nothing_changes(project: Project) -> None:
    before = project.pid_of()
    project.config(small().replace("replicas", "replicass").replace("size", "sise") + "[edges.nrt]\norigin = 'lb-b'\n")
    done = project.hopstack("reload")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in told[:3]] == ["replicass", "edges.fra.cache.sise", "edges.nrt.origin"]
    assert told[3:] == ["Nothing was changed; the stack runs on as before."]
    assert project.pid_of() == before
    assert "replicass" in project.status()["reload_error"]
    (project.folder / "stack.toml").unlink()
    done = project.hopstack("reload")
    assert done.returncode == 2
    assert "stack.toml" in done.stderr
    assert project.pid_of() == before


async def test_a_hop_that_cannot_start_undoes_all(project: Project) -> None:
    """New apps came up for the first; the second has no application, and the edge was to have another name as well."""
    before, processes = project.pid_of(), sorted(project.pids())
    project.config(
        'name = "other.test"' + small(cache="1G") + '[apps.1]\nworkers = 2\n[apps.2]\napp = "application:nothing"\n'
    )
    async with Load("127.0.1.1", project.base + 80, project.name) as load:
        status, out, err = await reload(project)
        await eventually(lambda: load.answered > 30, within=30)
    assert (status, out) == (2, "")
    assert "app-2 failed: --app application:nothing" in err
    assert err.splitlines()[-1] == "Nothing was changed; the stack runs on as before."
    assert load.lost == []
    assert project.pid_of() == before
    assert sorted(project.pids()) == processes
    project.config(small())
    assert project.hopstack("reload").stdout == "Nothing has changed.\n"
    # its certificate is that of before, too
    os.kill(before["edge-fra"], signal.SIGKILL)
    await eventually(
        lambda: (edge := project.hop("edge-fra"))["state"] == "ready" and edge["pid"] != before["edge-fra"],
        within=30,
        every=0.1,
    )
    assert project.answer()["version"] == "one"


async def test_a_taken_port_undoes_all(project: Project) -> None:
    before = project.pid_of()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        project.config(small(cache="1G").replace("[balancers.a]", f'[balancers.a]\nlisten = ["http://{place}"]'))
        done = project.hopstack("reload")
    assert done.returncode == 2
    assert f"{place} is taken" in done.stderr
    assert project.pid_of() == before


async def test_an_address_that_moves_is_served_before_the_old_one_is_given_up(project: Project) -> None:
    old = [("127.0.1.1", project.base + port) for port in (443, 80)]
    new = [("127.0.1.9", project.base + port) for port in (443, 80)]
    listen = ", ".join(
        f'"{scheme}://{host}:{port}"' for scheme, (host, port) in zip(("https", "http"), new, strict=True)
    )
    project.config(small().replace("[edges.fra]", f"[edges.fra]\nlisten = [{listen}]"))
    status, out, err = await reload(project)
    assert status == 0, err
    assert "dns-shop: zones/" in out, "the zone names the edge"
    assert project.answer(edge="127.0.1.9")["version"] == "one"
    for place in old:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, 5)


async def test_another_name_has_another_certificate(project: Project) -> None:
    project.config('name = "other.test"\n' + small())
    status, _, err = await reload(project)
    assert status == 0, err
    context = ssl.create_default_context(cafile=str(project.ca))
    with socket.create_connection(("127.0.1.1", project.https), 5) as plain:
        with context.wrap_socket(plain, server_hostname="other.test") as connection:
            names = {value for _, value in connection.getpeercert()["subjectAltName"]}  # type: ignore[index]
    assert "other.test" in names
    assert "project.test" not in names
    assert project.status()["name"] == "other.test"


async def test_two_at_once_are_done_one_after_the_other(project: Project) -> None:
    project.config(small(cache="48M"))
    outcomes = sorted([out for _, out, _ in await asyncio.gather(reload(project), reload(project))])
    assert outcomes == ["Nothing has changed.\n", "edge-fra: cache.size 64M -> 48M\n"]


async def test_sighup_is_a_wish_to_reload(project: Project) -> None:
    status = project.status()
    project.config(small(cache="48M"))
    os.kill(status["pid"], signal.SIGHUP)
    await eventually(lambda: project.status()["reloads"] == status["reloads"] + 1, within=30, every=0.2)
    assert project.pid_of()["edge-fra"] != {hop["name"]: hop["pid"] for hop in status["hops"]}["edge-fra"]
    assert "reload: edge-fra: cache.size 64M -> 48M" in (project.home / "logs" / "supervisor.log").read_text()


async def test_who_was_given_up_gets_another_chance(project: Project) -> None:
    async def crashed() -> bool:
        hop = project.hop("lb-a")
        if hop["pid"]:
            os.kill(hop["pid"], signal.SIGKILL)
        return hop["state"] == "crash-loop"

    await eventually(crashed, within=60, every=0.1)
    status, out, err = await reload(project)
    assert (status, out) == (0, "lb-a: started again, was crash-loop\n"), err
    assert project.answer()["version"] == "one"


async def test_a_restart_loses_nothing(project: Project) -> None:
    before = project.pid_of()
    async with Load("127.0.1.1", project.base + 80, project.name) as load:
        await eventually(lambda: load.answered > 20, within=30)
        done = await asyncio.to_thread(project.hopstack, "restart", "app-1", "edge-fra")
        await eventually(lambda answered=load.answered: load.answered > answered + 20, within=30)
    assert (done.returncode, done.stdout) == (0, "edge-fra: started anew\napp-1: started anew\n"), done.stderr
    assert load.lost == []
    after = project.pid_of()
    assert {name for name in before if after[name] != before[name]} == {"app-1", "edge-fra"}
    done = project.hopstack("restart", "app-11")
    assert done.returncode == 2
    assert done.stderr.startswith("no hop is called 'app-11': did you mean app-1?\n")
    project.code("import nosuchmodule")
    done = project.hopstack("restart", "app-2")
    assert done.returncode == 2
    assert "nosuchmodule" in done.stderr
    assert project.pid_of() == after


def test_the_edges_cache_stays_where_the_edge_does_not_change(project: Project) -> None:
    first = project.answer("/kept")
    project.config(small(replicas=1))
    assert project.hopstack("reload").returncode == 0
    assert project.answer("/kept") == first
    plan = json.loads((project.home / "plan.json").read_text())
    assert [hop["name"] for hop in plan["hops"]] == [hop["name"] for hop in project.status()["hops"]]
    assert "hit" in project.curl("/kept", "-i").lower().partition("cache-status: ")[2].splitlines()[0]
    done = project.hopstack("explain", "/kept", "--edge", "fra")
    assert done.returncode == 0
    assert done.stdout.startswith("edge-fra: HIT, fresh for another ")
    assert project.hopstack("explain", "/kept", "--edge", "fraa").returncode == 2
    done = project.hopstack("purge", "/kept")
    assert (done.returncode, done.stdout) == (0, "edge-fra: purged\n")
    assert project.hopstack("purge", "/kept").stdout == "edge-fra: nothing was stored\n"
    assert project.hopstack("purge", "/kept", "--edge", "fraa").returncode == 2


async def test_a_stop_in_the_middle_of_a_reload_is_a_stop(tmp_path: Path) -> None:
    """New apps that take long to start keep nobody waiting."""
    with ended(Project(tmp_path)) as project:
        project.up("--app", "application:app", "--replicas", "1", "--edges", "fra")
        assert project.hopstack("reload").stdout == "Nothing has changed.\n"
        project.code("import time; time.sleep(20)")
        project.config("[apps.1]\nworkers = 2\n")
        reloading = asyncio.ensure_future(reload(project))
        count = len(project.pids())
        await eventually(lambda: len(project.pids()) > count, within=20)
        assert project.status()["phase"] == "ready"
        assert json.loads(project.curl("/"))["version"] == "one"
        began = time.monotonic()
        assert (await asyncio.to_thread(project.hopstack, "down")).returncode == 0
        assert time.monotonic() - began < 12
        status, out, err = await reloading
        assert (status, out) == (2, "")
        assert "told to stop" in err or "did not answer" in err
        await eventually(lambda: project.pids() == [])


def test_nothing_runs(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for argv in (["reload"], ["restart", "app-1"], ["purge", "/"], ["explain", "/"]):
        done = project.hopstack(*argv)
        assert (done.returncode, done.stdout) == (3, "")
        assert "hopstack up" in done.stderr
