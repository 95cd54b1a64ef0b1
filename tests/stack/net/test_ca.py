from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stack.errors import ConfigError
from stack.net import ca

DAY = 86400.0
NOW = 1_900_000_000.0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def verify(ca_pem: Path, leaf: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca_pem), *options, str(leaf)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.needs("openssl")
def test_openssl_accepts_what_is_issued_for_name_and_address(tmp_path: Path) -> None:
    cert, key = ca.issue(tmp_path, "edge-fra", ["shop.test", "www.shop.test", "localhost"], ["127.0.1.1", "::1"])
    assert mode(key) == mode(tmp_path / "ca-key.pem") == 0o600
    for option, value in [
        ("-verify_hostname", "shop.test"),
        ("-verify_hostname", "www.shop.test"),
        ("-verify_ip", "127.0.1.1"),
        ("-verify_ip", "::1"),
        ("-purpose", "sslserver"),
        ("-purpose", "sslclient"),
    ]:
        assert verify(tmp_path / "ca.pem", cert, option, value).returncode == 0, (option, value)
    assert verify(tmp_path / "ca.pem", cert, "-verify_hostname", "other.test").returncode != 0


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("names", "ips"), [(["evil.example"], []), (["shop.test", "shop.nottest"], []), ([], ["192.0.2.1"])]
)
def test_rfc5280_4_2_1_10_a_leaf_outside_the_constraints_is_refused(
    tmp_path: Path, names: list[str], ips: list[str]
) -> None:
    """Even signed with the CA's key: what `issue` refuses to do is done here behind its back."""
    ca.ensure(tmp_path)
    cert, key = tmp_path / "evil.pem", tmp_path / "evil-key.pem"
    ca._issue(tmp_path, "evil", names, ips, cert, key, ca.time.time())
    refused = verify(tmp_path / "ca.pem", cert)
    assert refused.returncode != 0
    assert "permitted subtree violation" in refused.stderr


@pytest.mark.parametrize(("names", "ips"), [(["evil.example"], []), (["nottest"], []), ([], ["192.0.2.1"])])
def test_a_name_outside_the_constraints_is_not_issued(tmp_path: Path, names: list[str], ips: list[str]) -> None:
    ca.ensure(tmp_path)
    with pytest.raises(ConfigError, match=r"may not vouch for .*--cert and --key"):
        ca.issue(tmp_path, "edge", names, ips)
    assert not (tmp_path / "certs" / "edge.pem").exists()


def test_the_names_it_is_made_with_are_permitted(tmp_path: Path) -> None:
    ca.ensure(tmp_path, ["myapp.example"])
    ca.issue(tmp_path, "edge", ["api.myapp.example", "shop.test", "other.test"])


def test_the_state_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ca.ensure(state)
    assert mode(state) == 0o700
    assert not list(state.glob(".*"))


def test_a_leaf_is_reused_while_it_is_good(tmp_path: Path) -> None:
    def issue(names: list[str] = ["shop.test"], ips: list[str] = ["127.0.0.1"], now: float = NOW) -> bytes:  # noqa: B006
        return ca.issue(tmp_path, "edge", names, ips, now=now)[0].read_bytes()

    first = issue()
    assert issue(now=NOW + 59 * DAY) == first
    assert issue(now=NOW + 61 * DAY) != first, "less than 30 days left"
    second = issue(now=NOW + 61 * DAY)
    assert issue(["shop.test", "localhost"], now=NOW + 61 * DAY) != second, "other names"
    third = issue(ips=["127.0.0.2"], now=NOW + 61 * DAY)
    for file in ("ca.pem", "ca-key.pem", "ca.json"):
        (tmp_path / file).unlink()
    assert issue(ips=["127.0.0.2"], now=NOW + 61 * DAY) != third, "another CA"


def test_the_ca_is_renewed_before_it_ends_and_keeps_its_names(tmp_path: Path) -> None:
    first = ca.ensure(tmp_path, ["myapp.example"], now=NOW).read_bytes()
    assert ca.ensure(tmp_path, now=NOW + 690 * DAY).read_bytes() == first
    assert ca.ensure(tmp_path, now=NOW + 701 * DAY).read_bytes() != first
    ca.issue(tmp_path, "edge", ["myapp.example"], now=NOW + 701 * DAY)


def test_a_leaf_never_outlives_its_ca(tmp_path: Path) -> None:
    from cryptography import x509

    ca.ensure(tmp_path, now=NOW)
    cert, _ = ca.issue(tmp_path, "edge", ["shop.test"], now=NOW + 690 * DAY)
    leaf = x509.load_pem_x509_certificate(cert.read_bytes())
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert leaf.not_valid_after_utc <= authority.not_valid_after_utc


def test_a_warm_start_does_not_load_cryptography(tmp_path: Path) -> None:
    ca.issue(tmp_path, "edge", ["shop.test"])
    program = (
        "import sys; from pathlib import Path; from stack.net import ca\n"
        f"ca.issue(Path({str(tmp_path)!r}), 'edge', ['shop.test']); assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_interrupted_creation_is_begun_again(tmp_path: Path) -> None:
    ca.ensure(tmp_path)
    (tmp_path / "ca.pem").unlink()
    ca.issue(tmp_path, "edge", ["shop.test"])


def test_somebody_elses_ca_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("mine")
    with pytest.raises(ConfigError, match="is not the CA that was made here"):
        ca.ensure(tmp_path)
    assert (tmp_path / "ca.pem").read_text() == "mine"


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        ca.ensure(tmp_path / "file" / "state")


def _race(state: str, name: str) -> bytes:
    ca.issue(Path(state), name, ["shop.test"])
    return (Path(state) / "ca.pem").read_bytes()


def test_processes_that_race_make_one_ca(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        seen = pool.starmap(_race, [(str(tmp_path), f"hop-{n}") for n in range(8)])
    assert len(set(seen)) == 1
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    assert len(context.get_ca_certs()) == 1
    if shutil.which("openssl"):
        assert all(verify(tmp_path / "ca.pem", leaf).returncode == 0 for leaf in tmp_path.glob("certs/hop-?.pem"))


def test_a_strict_python_client_believes_it(tmp_path: Path) -> None:
    """VERIFY_X509_STRICT is on by default from Python 3.13: it wants AKI, SKI and key usage."""
    cert, key = ca.issue(tmp_path, "edge", ["shop.test"], ["127.0.0.1"])
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key)
    client_context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    for name, good in [("shop.test", True), ("127.0.0.1", True), ("other.test", False)]:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
        outcome = True
        try:
            for _ in range(6):
                for side in (client, server):
                    with contextlib.suppress(ssl.SSLWantReadError):
                        side.do_handshake()
        except ssl.SSLCertVerificationError:
            outcome = False
        assert outcome is good, name


@pytest.mark.needs("curl")
def test_curl_believes_it(tmp_path: Path) -> None:
    """A whole handshake with a client of another TLS habit."""
    cert, key = ca.issue(tmp_path, "edge", ["shop.test"], ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

        for name, good in [("shop.test", True), ("other.test", False)]:
            thread = threading.Thread(target=serve)
            thread.start()
            done = subprocess.run(
                ["curl", "-sS", "--max-time", "20", "--cacert", str(tmp_path / "ca.pem"),
                 "--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            thread.join()
            assert (done.stdout == "ok") is good, done.stderr
