"""nghttp, h2load, wrk and openssl at the edge of the whole path."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.site import EDGE, Site


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.needs("nghttp")
def test_nghttp_with_many_streams_and_priorities(clients_site: Site) -> None:
    stack = clients_site.stack
    urls = [f"https://{EDGE}:{stack.https}/part/{number}.js" for number in range(40)]
    said = run(
        "nghttp", "-v", "-H", ":authority: site.test", "-H", "priority: u=1, i", "-p", "200", *urls
    )  # fmt: skip
    assert said.count(":status: 200") == 40
    assert not re.search(r"PROTOCOL_ERROR|INTERNAL_ERROR|REFUSED|recv RST_STREAM", said)


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("clear", [False, True])
def test_h2load_loses_nothing(clients_site: Site, clear: bool) -> None:
    stack = clients_site.stack
    url = f"http://{EDGE}:{stack.base + 80}/file" if clear else f"https://{EDGE}:{stack.https}/file"
    said = run("h2load", "-n300", "-c6", "-m20", "-H", ":authority: site.test", url)
    assert "300 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert "300 2xx" in said


@pytest.mark.needs("h2load")
def test_h2load_uploads(clients_site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = clients_site.stack
    file = tmp_path_factory.mktemp("upload") / "content"
    file.write_bytes(bytes(100_000))
    said = run(
        "h2load", "-n60", "-c3", "-m5", "-d", str(file), "-H", ":authority: site.test", f"https://{EDGE}:{stack.https}/echo"
    )  # fmt: skip
    assert "60 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert "60 2xx" in said


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("keep", [True, False])
def test_wrk_sees_no_error(clients_site: Site, keep: bool) -> None:
    stack = clients_site.stack
    headers = ["-H", "Host: site.test"] + ([] if keep else ["-H", "Connection: close"])
    said = run("wrk", "-t1", "-c8", "-d2s", *headers, f"http://{EDGE}:{stack.base + 80}/text")
    assert "Socket errors" not in said or (not keep and "connect 0, read 0, write 0, timeout 0" in said), said
    assert "Non-2xx" not in said
    found = re.search(r"(\d+) requests in", said)
    assert found is not None
    assert int(found[1]) > 20


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("offer", "taken"), [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")])
def test_openssl_settles_on_a_protocol(clients_site: Site, offer: str, taken: str) -> None:
    stack = clients_site.stack
    said = run(
        "openssl", "s_client", "-connect", f"{EDGE}:{stack.https}", "-servername", "site.test", "-CAfile", str(stack.ca),
        "-verify_return_error", "-alpn", offer, given="",
    )  # fmt: skip
    assert f"ALPN protocol: {taken}" in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.needs("openssl")
def test_openssl_sends_a_request_by_hand(clients_site: Site) -> None:
    stack = clients_site.stack
    said = run(
        "openssl", "s_client", "-quiet", "-ign_eof", "-connect", f"{EDGE}:{stack.https}", "-servername", "site.test",
        "-CAfile", str(stack.ca), given="GET /?hand HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n",
    )  # fmt: skip
    assert "HTTP/1.1 200 OK" in said
    assert "\n\nhere" in said
