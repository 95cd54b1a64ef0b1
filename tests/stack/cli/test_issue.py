"""`hopstack ca issue`: each hop's directory is all that a container of that hop needs, and nobody else's key."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from stack.cli.main import main

FILE = Path(__file__).parents[3] / "docker" / "stack.toml"
HOPS = (
    *("dns-root", "dns-tld", "dns-shop", "resolver", "edge-fra", "edge-nrt", "lb-a"),
    *("proxy-1", "proxy-2", "proxy-3", "app-1", "app-2", "app-3"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def issue(into: Path, file: Path = FILE) -> int:
    return main(["ca", "issue", "--config", str(file), "--into", str(into)])


def names(certificate: Path) -> list[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_every_hop_of_the_file_gets_its_own(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issue(tmp_path / "tls") == 0
    assert capsys.readouterr().out == f"13 certificates in {tmp_path / 'tls'}, issued by {home / 'ca.pem'}\n"
    assert sorted(item.name for item in (tmp_path / "tls").iterdir()) == sorted(HOPS)
    for hop in HOPS:
        own = tmp_path / "tls" / hop
        assert sorted(item.name for item in own.iterdir()) == ["ca.pem", "cert.json", "cert.pem", "key.pem"]
        assert stat.S_IMODE((own / "key.pem").stat().st_mode) == 0o600
        assert (own / "ca.pem").read_bytes() == (home / "ca.pem").read_bytes()
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(own / "cert.pem", own / "key.pem")
    assert {"shop.test", "www.shop.test", "edge-fra.shop.test"} <= set(names(tmp_path / "tls/edge-fra/cert.pem"))
    assert "proxy-1.shop.test" in names(tmp_path / "tls/proxy-1/cert.pem")
    assert "lb-a.shop.test" in names(tmp_path / "tls/lb-a/cert.pem")
    assert not (home / "certs").exists(), "a hop of `hopstack up` would take these for its own"


def test_what_is_good_is_kept(home: Path, tmp_path: Path) -> None:
    assert issue(tmp_path / "tls") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "tls").rglob("*.pem")}
    (tmp_path / "tls/edge-nrt/cert.pem").unlink()
    assert issue(tmp_path / "tls") == 0
    after = {path: path.read_bytes() for path in (tmp_path / "tls").rglob("*.pem")}
    changed = {path.parent.name for path in after if after[path] != before[path]}
    assert changed == {"edge-nrt"}


def test_a_new_authority_issues_all_anew(home: Path, tmp_path: Path) -> None:
    assert issue(tmp_path / "tls") == 0
    before = (tmp_path / "tls/app-1/cert.pem").read_bytes()
    for name in ("ca.pem", "ca-key.pem"):
        (home / name).unlink()
    assert issue(tmp_path / "tls") == 0
    assert (tmp_path / "tls/app-1/cert.pem").read_bytes() != before
    assert (tmp_path / "tls/app-1/ca.pem").read_bytes() == (home / "ca.pem").read_bytes()


def test_a_faulty_file_is_status_2(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issue(tmp_path / "tls", tmp_path / "none.toml") == 2
    assert "none.toml" in capsys.readouterr().err


def test_a_directory_that_cannot_be_is_status_2(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert issue(tmp_path / "file") == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said
    assert said.count("\n") == 1
