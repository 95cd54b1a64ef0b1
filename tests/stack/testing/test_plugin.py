"""The pytest plugin, as it is installed: whole runs of pytest in a directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
count = 0

async def app(scope, receive, send):
    global count
    if scope["type"] != "http":
        raise NotImplementedError
    count += scope["path"] != "/health"
    headers = [(b"cache-control", b"max-age=60"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"from my own app"})

def flask_like(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]
"""
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers\n"


class Run:
    """A directory with tests, and what pytest says of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "myapp.py").write_text(APP)

    def __call__(self, tests: str, *argv: str, ini: str = INI + "webstack_app = myapp:app\n") -> str:
        done = self.start(tests, *argv, ini=ini)
        out, _ = done.communicate(timeout=100)
        return out

    def start(self, tests: str, *argv: str, ini: str, **environ: str) -> subprocess.Popen[str]:
        (self.path / "pytest.ini").write_text(ini)
        (self.path / "test_it.py").write_text(tests)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:hypothesispytest",
                "-W",
                "error",
                *argv,
            ],
            cwd=self.path,
            env={**inherited, "PYTHONPATH": str(self.path), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_fixtures_markers_and_every_loop_scope(run: Run) -> None:
    out = run(
        """
import asyncio, contextvars
import pytest
from stack.testing import assert_cached

async def test_the_ini_option_names_the_app(webstack):
    assert (await webstack.get("/")).text == "from my own app"
    assert len(webstack.backends) == 6

@pytest.mark.webstack(replicas=1, edges=["lhr"])
class TestMarked:
    async def test_of_the_class(self, webstack):
        assert (await webstack.get("/")).edge == "edge-lhr"

    @pytest.mark.webstack(edges=["syd"])
    async def test_the_nearest_one_wins(self, webstack):
        assert (await webstack.get("/")).edge == "edge-syd"
        assert len(webstack.backends) == 2

@pytest.mark.asyncio(loop_scope="module")
async def test_loop_of_the_module(webstack):
    await webstack.get("/")
    assert_cached(await webstack.get("/"))

@pytest.mark.asyncio(loop_scope="session")
async def test_loop_of_the_session(webstack):
    assert (await webstack.get("/")).status == 200

variable = contextvars.ContextVar("variable", default="unset")

async def test_context_variables(webstack):
    variable.set("here")
    await webstack.get("/")
    assert variable.get() == "here"

@pytest.mark.parametrize("number", [1, 2])
async def test_parameters(webstack, number, tmp_path):
    assert (await webstack.get(f"/{number}")).status == 200

def test_sync(webstack_sync):
    assert webstack_sync.get("/").text == "from my own app"
    webstack_sync.clock.advance(61)
    assert webstack_sync.get("/").cache.reason == "stale"

@pytest.mark.webstack(app="myapp:flask_like")
def test_wsgi(webstack_sync):
    assert webstack_sync.get("/").text == "https"

class TestOverridden:
    @pytest.fixture
    def webstack_app(self):
        import myapp
        return lambda: myapp.app

    async def test_by_a_fixture(self, webstack):
        assert (await webstack.get("/")).text == "from my own app"

class TestOwnFixture:
    @pytest.fixture
    async def webstack(self):
        from stack.testing import WebStack
        async with WebStack("myapp:app", name="own.test") as web:
            yield web

    async def test_of_the_same_name(self, webstack):
        assert (await webstack.get("/")).status == 200
        assert webstack.name == "own.test"
"""
    )
    assert "12 passed" in out, out


FIXTURES = """
import pytest, pytest_asyncio
ended = []

@pytest.fixture
def ada(webstack):
    return webstack.client(headers={"X-User": "ada"})

@pytest_asyncio.fixture
async def signed_in(webstack):
    await webstack.get("/in")
    return webstack

@pytest_asyncio.fixture
async def through_another(ada):
    assert (await ada.get("/in")).status == 200
    yield ada
    assert (await ada.get("/out")).status == 200
    ended.append("through_another")

class TestOfAClass:
    @pytest_asyncio.fixture
    async def own(self, webstack):
        self.seen = (await webstack.get("/in")).status
        yield self.seen
        assert (await webstack.get("/out")).status == 200

    @pytest.mark.RUNNER
    async def test_own(self, own, webstack):
        assert self.seen == own == 200
        assert (await webstack.get("/")).status == 200

@pytest_asyncio.fixture
async def has_nothing_to_do_with_it():
    yield 1

@pytest.mark.RUNNER
async def test_plain(webstack, has_nothing_to_do_with_it):
    assert not webstack.responses
    assert (await webstack.get("/")).status == 200

@pytest.mark.RUNNER
async def test_a_client_made_before_the_stack_ran(ada):
    assert (await ada.get("/")).request_at("app").headers["x-user"] == "ada"

@pytest.mark.RUNNER
async def test_returned(signed_in, webstack):
    assert signed_in is webstack and [r.url for r in webstack.responses] == [webstack.url("/in")]
    assert (await webstack.get("/")).status == 200

@pytest.mark.RUNNER
async def test_both(through_another, signed_in, webstack):
    assert len(webstack.responses) == 2
    assert (await through_another.get("/")).status == 200

def test_its_end_was_reached():
    assert ended == ["through_another"]
"""
STRICT = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\nwebstack_app = myapp:app\n"


def test_fixtures_that_ask_for_it_find_it_running(run: Run) -> None:
    out = run(FIXTURES.replace("RUNNER", "asyncio"), ini=STRICT)
    assert "6 passed" in out, out


def test_fixtures_of_anyio_too(run: Run) -> None:
    backend = "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    tests = FIXTURES.replace("RUNNER", "anyio").replace("pytest_asyncio.fixture", "pytest.fixture")
    out = run(
        tests.replace("ended = []", backend + "ended = []"), "-p", "no:asyncio", ini=STRICT.replace("asyncio_", "#")
    )
    assert "6 passed" in out, out


def test_another_loop_or_none_is_said(run: Run) -> None:
    out = run(
        """
import pytest, pytest_asyncio
from stack.testing import WebStack
from myapp import app

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web():
    async with WebStack(app) as web:
        yield web

@pytest.mark.asyncio
async def test_in_another_loop(web):
    await web.get("/")

@pytest.fixture
def page(webstack):
    return webstack.url("/")

@pytest.mark.asyncio
async def test_too_early(page): ...
""",
        ini=STRICT,
    )
    assert "the stack runs in another event loop" in out
    assert "loop_scope" in out
    assert "and in async fixtures that ask for it" in out
    assert "1 failed, 1 error" in out, out


def test_a_failure_prints_the_way_of_its_requests(run: Run) -> None:
    tests = """
async def test_plain(webstack):
    r = await webstack.get("/x")
    assert r.cache.hit

def helper(web):
    r = web.get("/y")
    assert r.status == 404

def test_in_a_helper(webstack_sync):
    helper(webstack_sync)

async def test_own_stack():
    from stack.testing import WebStack
    async with WebStack("myapp:app") as web:
        await web.get("/z")
        assert web.name == "else"

def test_without_a_stack():
    assert 1 == 2
"""
    out = run(tests)
    assert "4 failed" in out, out
    assert "where False = <edge-fra MISS: nothing was stored under this URL; stored now, fresh for 60 s>.hit" in out
    assert out.count("webstack: what the requests went through") == 3
    for path in "xyz":
        assert f"/{path}\n200 over HTTP/2 from edge-fra" in out
    assert "    lb-a attempt answered" in out
    assert "webstack: what" not in run(tests, "--webstack-trace=off")


def test_of_all_tests_when_asked(run: Run) -> None:
    tests = "async def test_it(webstack):\n    await webstack.get('/x')\n"
    assert "edge-fra lookup uri-miss" in run(tests, "--webstack-trace=all", "-rP")
    assert "edge-fra lookup uri-miss" not in run(tests, "-rP")


def test_what_is_asked_wrongly_is_one_line(run: Run) -> None:
    out = run(
        """
import pytest

def test_not_async(webstack):
    pass

@pytest.mark.webstack(app="myapp:ap")
async def test_no_such_app(webstack):
    pass
"""
    )
    assert "this one is not: take webstack_sync" in out
    assert "has no 'ap'; near it: app" in out


def test_anyio_runs_it_as_well(run: Run) -> None:
    out = run(
        """
import pytest

@pytest.fixture(params=[("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_it(webstack):
    assert (await webstack.get("/")).cache.stored
    webstack.clock.advance(61)
    assert (await webstack.get("/")).cache.reason == "stale"
    webstack.backends["app-1"].kill()
    assert (await webstack.get("/other")).status == 200
""",
        "-p", "no:asyncio",
        ini="[pytest]\nwebstack_app = myapp:app\n",
    )  # fmt: skip
    assert "2 passed" in out, out


def test_a_run_without_it_imports_no_hop(run: Run) -> None:
    out = run(
        """
import sys

def test_it():
    heavy = [name for name in sys.modules if name.split(".")[0] in ("cdn_edge", "dns_server", "aiohttp", "msgspec")]
    assert not heavy
    assert [name for name in sys.modules if name.startswith("stack")] == ["stack", "stack.testing", "stack.testing.plugin"]
"""
    )
    assert "1 passed" in out, out


def test_many_runs_at_once_share_a_ca_that_none_of_them_has_yet(run: Run, tmp_path: Path) -> None:
    tests = "import pytest\n@pytest.mark.parametrize('n', range(2))\nasync def test_it(webstack, n):\n    assert (await webstack.get('/')).status == 200\n"
    cache = str(tmp_path / "cache")
    started = [run.start(tests, ini=INI + "webstack_app = myapp:app\n", XDG_CACHE_HOME=cache) for _ in range(2)]
    for done in started:
        out, _ = done.communicate(timeout=100)
        assert "2 passed" in out, out
