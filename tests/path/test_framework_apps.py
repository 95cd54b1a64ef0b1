"""Anybody's app behind the whole path: each framework is installed, started by `hopstack up`, and asked with curl.

The apps are in tests/support/apps; none of them knows what stands before it, but where its own documentation says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets import InvalidStatus, Subprotocol
from websockets.asyncio.client import connect

from tests.support.app_process import free_port
from tests.support.packages import node_packages, python_packages
from tests.support.stack import Stack, free_base

pytestmark = [pytest.mark.needs("curl"), pytest.mark.timeout(240)]

APPS = Path(__file__).parent.parent / "support" / "apps"
CLIENT = "127.0.0.77"
"""Where the client connects from: nobody else on the path has this address."""
SECRET = "hunter2"


@dataclass(frozen=True)
class Framework:
    """`app` is imported from `folder`; without one, `server.js` of the folder is started as an origin."""

    folder: str
    app: str = ""
    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    missing: str = ""
    """What its own page for what is not there says."""
    websockets: int = 404
    """What a WebSocket handshake is answered: 404 where the app has none, 501 where the interface has none."""
    csrf: bool = False
    """Forms need a token, and an Origin that is the site's."""


FRAMEWORKS = {
    "fastapi": Framework(
        "fastapi",
        "site_fastapi:app",
        ("fastapi>=0.115", "python-multipart>=0.0.18"),
        missing='{"detail":"Not Found"}',
        websockets=101,
    ),
    "flask": Framework(
        "flask", "site_flask:create_app", ("flask>=3,<4",), missing="If you entered the URL manually", websockets=501
    ),
    "django-wsgi": Framework(
        "django",
        "site_django:application",
        ("django>=5.2,<6",),
        missing="<h1>Not Found</h1>",
        websockets=501,
        csrf=True,
    ),
    "django-asgi": Framework(
        "django",
        "site_django:asgi_application",
        ("django>=5.2,<6",),
        missing="<h1>Not Found</h1>",
        websockets=500,
        csrf=True,
    ),
    "aiohttp": Framework("aiohttp", "site_aiohttp", missing="404: Not Found", websockets=101),
    "node": Framework("node", missing="node has no /nowhere"),
    "express": Framework("express", node=("express@5",), missing="Cannot GET /nowhere"),
}


@dataclass
class Reply:
    status: int
    fields: dict[str, str]
    body: str
    begun: float
    ended: float
    """Seconds from the start to the first byte, and to the last."""

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


class Site:
    def __init__(self, stack: Stack, framework: Framework) -> None:
        self.stack, self.framework = stack, framework
        self.origin = f"https://site.test:{stack.https}"

    def curl(self, path: str, *flags: str) -> Reply:
        done = subprocess.run(
            [
                "curl", "-sS", "--max-time", "30", "--interface", CLIENT, "--cacert", str(self.stack.ca),
                "--resolve", f"site.test:{self.stack.https}:127.0.1.1", "--include",
                "--write-out", "\n%{time_starttransfer} %{time_total}", *flags, self.origin + path,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text, _, times = done.stdout.rpartition("\n")
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        while head.startswith("HTTP/1.1 100") or head.startswith("HTTP/2 100"):
            head, _, body = body.partition("\n\n")
        line, *lines = head.split("\n")
        pairs = [each.partition(": ") for each in lines]
        begun, ended = map(float, times.split())
        return Reply(int(line.split()[1]), {name.lower(): value for name, _, value in pairs}, body, begun, ended)


NEEDS_NODE = pytest.mark.needs("node")
PARAMS = [pytest.param(name, marks=() if FRAMEWORKS[name].app else NEEDS_NODE) for name in FRAMEWORKS]


@pytest.fixture(scope="module", params=PARAMS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    framework = FRAMEWORKS[request.param]
    stack = Stack(tmp_path_factory.mktemp("site") / "home", free_base())
    stack.env["SITE"] = f"site.test:{stack.https}"
    folder = APPS / framework.folder
    if framework.python:
        stack.env["PYTHONPATH"] = str(python_packages(*framework.python))
    with contextlib.ExitStack() as ending:
        if framework.app:
            flags = ["--app", framework.app, "--app-dir", str(folder)]
        else:
            flags = ["--origin", ending.enter_context(node(folder, framework.node))]
        ending.callback(stack.hopstack, "down")
        up = ["up", "--detach", "--no-config", "--name", "site.test", "--replicas", "1", "--edges", "fra"]
        done = stack.hopstack(*up, "--port-base", str(stack.base), *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Site(stack, framework)


@contextlib.contextmanager
def node(folder: Path, requirements: tuple[str, ...]) -> Iterator[str]:
    """Node on a port of its own. It need not listen yet: the proxy waits for it."""
    port = free_port()
    environ = {**os.environ, "PORT": str(port), "NODE_ENV": "production"}
    if requirements:
        environ["NODE_PATH"] = str(node_packages(*requirements))
    process = subprocess.Popen(["node", str(folder / "server.js")], env=environ)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_its_health_is_asked_for_by_the_sites_name(site: Site) -> None:
    """Django answers 400 to a Host that is not in ALLOWED_HOSTS, and logs each as an attack."""
    assert "Invalid HTTP_HOST" not in site.stack.log_text("app-1")


def test_a_page_over_https(site: Site) -> None:
    page = site.curl("/")
    assert page.status == 200
    assert page.body == f"<h1>hello from {site.framework.folder}</h1>"
    assert page.fields["content-type"].startswith("text/html")
    assert "edge-fra" in page.fields["via"]


def test_head(site: Site) -> None:
    head = site.curl("/", "--head")
    assert (head.status, head.body) == (200, "")
    assert head.fields["content-type"].startswith("text/html")


def test_the_app_sees_the_public_address_and_the_real_client(site: Site) -> None:
    seen = site.curl("/where?q=1").json()
    assert seen == {
        "url": f"{site.origin}/where?q=1",
        "external": f"{site.origin}/where",
        "secure": True,
        "client": CLIENT,
    }


def test_what_a_client_claims_is_not_believed(site: Site) -> None:
    claims = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "Forwarded: for=192.0.2.1;proto=http"]
    claims += ["X-Forwarded-Host: evil.test", "X-Real-IP: 192.0.2.1"]
    seen = site.curl("/where", *(word for claim in claims for word in ("--header", claim))).json()
    assert (seen["url"], seen["secure"], seen["client"]) == (f"{site.origin}/where", True, CLIENT)


def test_a_form_and_cookies(site: Site) -> None:
    flags = ["--data-urlencode", "name=Zoë & co", "--header", "Origin: " + site.origin]
    cookies = {"a": "1", "b": "2"}
    if site.framework.csrf:
        token = site.curl("/token")
        assert token.fields["set-cookie"].startswith("csrftoken=")
        cookies["csrftoken"] = token.fields["set-cookie"].partition("=")[2].partition(";")[0]
        flags += ["--data-urlencode", f"csrfmiddlewaretoken={token.body}"]
    reply = site.curl("/form", *flags, "--cookie", "; ".join(f"{key}={value}" for key, value in cookies.items()))
    assert reply.status == 200, reply.body
    assert reply.json() == {"name": "Zoë & co", "cookies": cookies}
    assert reply.fields["set-cookie"].startswith("visited=yes")


def test_a_redirect_stays_on_the_public_address(site: Site) -> None:
    moved = site.curl("/old")
    assert (moved.status, moved.fields["location"]) == (302, f"{site.origin}/where")


def test_a_streamed_response_is_not_held_back(site: Site) -> None:
    reply = site.curl("/stream")
    assert reply.body == "".join(f"line {number}\n" for number in range(4))
    assert reply.ended - reply.begun > 0.3  # of 0.6 s between the first line and the last


def test_what_is_not_there_is_the_frameworks(site: Site) -> None:
    missing = site.curl("/nowhere")
    assert missing.status == 404
    assert site.framework.missing in missing.body


def test_an_error_of_the_app_shows_no_trace(site: Site) -> None:
    failed = site.curl("/boom")
    assert failed.status == 500
    assert "Traceback" not in failed.body
    assert SECRET not in failed.body
    assert site.curl("/").status == 200  # and the next one is served


def test_an_upload_of_a_megabyte(site: Site, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(os.urandom(1_000_000))
    kind = ["--header", "Content-Type: application/octet-stream"]
    sent = site.curl("/upload", "--data-binary", f"@{tmp_path / 'film'}", *kind)
    assert sent.json() == {"size": 1_000_000}


async def test_a_websocket(site: Site) -> None:
    trust = ssl.create_default_context(cafile=str(site.stack.ca))
    options = {"host": "127.0.1.1", "port": site.stack.https, "local_addr": (CLIENT, 0), "proxy": None}
    socket = connect(f"wss{site.origin[5:]}/chat", ssl=trust, subprotocols=[Subprotocol("chat")], **options)
    if site.framework.websockets != 101:
        with pytest.raises(InvalidStatus) as refused:
            await socket
        assert refused.value.response.status_code == site.framework.websockets
        return
    async with socket as client:
        assert client.subprotocol == "chat"
        assert await client.recv() == f"wss {CLIENT}"
        await client.send("hello")
        assert await client.recv() == "hello"
