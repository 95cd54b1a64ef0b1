"""curl at the edge of the whole path: every way it has to send and to ask."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.apps.clients.site_clients import FILE
from tests.support.site import EDGE, Site

pytestmark = pytest.mark.needs("curl")
SECURE = ["--http1.1", "--http2"]
CLEAR = ["--http1.0", "--http1.1", "--http2-prior-knowledge"]
CONTENT = hashlib.shake_256(b"content").digest(300_000)


def curl(site: Site, path: str, *argv: str) -> bytes:
    stack = site.stack
    clear = any(flag in argv for flag in ("--http1.0", "--http2-prior-knowledge", "--clear"))
    port = stack.base + 80 if clear else stack.https
    command = [
        "curl", "-sS", "--max-time", "30", "--cacert", str(stack.ca), "--resolve", f"site.test:{port}:{EDGE}",
        *(flag for flag in argv if flag != "--clear"), f"{'http' if clear else 'https'}://site.test:{port}{path}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_each_version_is_what_was_asked_for(clients_site: Site) -> None:
    for flag, version in (("--http1.1", b"1.1"), ("--http2", b"2")):
        assert curl(clients_site, "/", flag, "-w", "%{http_version}").endswith(b"here" + version)
    for flag, version in (("--http1.0", b"1.1"), ("--http2-prior-knowledge", b"2")):
        assert curl(clients_site, "/", flag, "-w", "%{http_version}").endswith(b"here" + version)


@pytest.mark.parametrize("version", [*SECURE, "--http2-prior-knowledge"])
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(["--data-binary", "@{}"], id="measured"),
        pytest.param(["-T", "{}"], id="put"),
        pytest.param(["-T", "-"], id="chunked"),
        pytest.param(["-X", "PATCH", "--data-binary", "@{}"], id="patch"),
        pytest.param(["--data-binary", "@{}", "-H", "Expect: 100-continue"], id="expect"),
        pytest.param(["-F", "file=@{}"], id="multipart"),
    ],
)
def test_an_upload_arrives_whole(clients_site: Site, tmp_path: Path, version: str, way: list[str]) -> None:
    file = tmp_path / "content"
    file.write_bytes(CONTENT)
    argv = [part.replace("{}", str(file)) for part in way]
    if "-" in argv:
        stack = clients_site.stack
        port = stack.base + 80 if "prior" in version else stack.https
        scheme = "http" if "prior" in version else "https"
        command = [
            "curl", "-sS", "--max-time", "30", "--cacert", str(stack.ca), "--resolve", f"site.test:{port}:{EDGE}",
            version, *argv, f"{scheme}://site.test:{port}/echo",
        ]  # fmt: skip
        done = subprocess.run(command, input=CONTENT, capture_output=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr.decode()
        said = json.loads(done.stdout)
    else:
        said = json.loads(curl(clients_site, "/echo", version, *argv))
    if "-F" in argv:
        assert said["length"] > len(CONTENT)
        assert said["fields"]["content-type"].startswith("multipart/form-data")
    else:
        assert (said["length"], said["digest"]) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert said["method"] == {"-T": "PUT", "-X": "PATCH"}.get(argv[0], "POST")
    assert said["fields"]["x-forwarded-proto"] == ("http" if "prior" in version else "https")


@pytest.mark.parametrize("version", [*SECURE, "--http1.0", "--http2-prior-knowledge"])
def test_a_head_has_the_length_and_no_content(clients_site: Site, version: str) -> None:
    answer = curl(clients_site, "/file", version, "-I").decode().lower()
    assert "content-length: 1000000" in answer
    assert answer.startswith("http/")
    assert answer.endswith("\r\n\r\n")


@pytest.mark.parametrize("version", [*SECURE, "--http2-prior-knowledge"])
def test_ranges_and_a_download_that_is_taken_up_again(clients_site: Site, tmp_path: Path, version: str) -> None:
    curl(clients_site, "/file", version, "-o", "/dev/null")
    assert curl(clients_site, "/file", version, "-r", "100-199") == FILE[100:200]
    assert curl(clients_site, "/file", version, "-r", "-5") == FILE[-5:]
    part = tmp_path / "part"
    part.write_bytes(FILE[:700_001])
    curl(clients_site, "/file", version, "-C", "-", "-o", str(part))
    assert part.read_bytes() == FILE


@pytest.mark.parametrize("version", SECURE)
def test_compressed_content_is_what_it_was(clients_site: Site, version: str) -> None:
    shown = curl(clients_site, "/text", version, "--compressed", "-D", "-")
    head, _, content = shown.partition(b"\r\n\r\n")
    assert b"content-encoding: " in head.lower()
    assert content == b"hello world, " * 1000


@pytest.mark.parametrize("version", SECURE)
def test_an_upload_that_is_refused_early(clients_site: Site, tmp_path: Path, version: str) -> None:
    """The answer comes although the content is not read; curl gets it, not a reset."""
    file = tmp_path / "large"
    file.write_bytes(bytes(3_000_000))
    shown = curl(clients_site, "/refuse", version, "-T", str(file), "-w", "%{http_code}")
    assert shown == b"no403"


@pytest.mark.parametrize("version", SECURE)
def test_many_requests_of_one_curl_share_a_connection(clients_site: Site, version: str) -> None:
    stack = clients_site.stack
    urls = [f"https://site.test:{stack.https}/?{number}" for number in range(10)]
    command = [
        "curl", "-sS", "--max-time", "30", version, "--cacert", str(stack.ca), "--resolve",
        f"site.test:{stack.https}:{EDGE}", "-w", "\n%{num_connects}\n", *urls,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count("here") == 10
    assert [word for word in done.stdout.split() if word.isdigit()] == ["1", *["0"] * 9]


def test_server_events_stream_to_a_curl_that_does_not_buffer(clients_site: Site) -> None:
    stack = clients_site.stack
    command = [
        "curl", "-sSN", "--http1.1", "--cacert", str(stack.ca), "--resolve", f"site.test:{stack.https}:{EDGE}",
        f"https://site.test:{stack.https}/events",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        lines = [client.stdout.readline() for _ in range(5)]
        client.terminate()
    assert lines == [b"data: 0\n", b"\n", b"data: 1\n", b"\n", b"data: 2\n"]
