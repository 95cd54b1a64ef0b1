"""The local CA: made on first start, able to vouch only for names under .test and loopback, and for nothing else.

Even if its key leaks, a browser that trusts it believes it for these names alone (RFC 5280 §4.2.1.10).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import ipaddress
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stack.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

NAMES: Final = ("test", "localhost")
"""Permitted with all their subdomains, besides the names that the CA is made with. Nothing public is ever called .test
(RFC 6761 §6.2), so one CA that is trusted once does for every app."""
NETWORKS: Final = ("127.0.0.0/8", "::1/128")
CA_DAYS: Final = 730
LEAF_DAYS: Final = 90
"""Browsers refuse leaves above 398 days."""
RENEW_DAYS: Final = 30
_DAY: Final = 86400.0
_BACKDATED: Final = 3600.0


class _Facts(msgspec.Struct, frozen=True):
    """What is known of a certificate on disk, so that a warm start need not load cryptography (60 ms)."""

    sha256: str
    ca_sha256: str
    names: list[str]
    ips: list[str]
    not_after: float


def ca_path(state_dir: Path) -> Path:
    return state_dir / "ca.pem"


def ensure(state_dir: Path, names: Iterable[str] = (), *, now: float | None = None) -> Path:
    """The CA certificate's path; makes it when there is none or it is about to end. Safe against other processes."""
    moment = time.time() if now is None else now
    with _locked(state_dir):
        _ensure(state_dir, names, moment)
    return ca_path(state_dir)


def permitted(state_dir: Path) -> tuple[str, ...]:
    """The names that the CA may vouch for, with all below them; empty when there is none."""
    known = _read(state_dir / "ca.json")
    return tuple(known.names) if known is not None else ()


def expires(state_dir: Path) -> float | None:
    """Unix time at which the CA ends; None when there is none."""
    known = _read(state_dir / "ca.json")
    return known.not_after if known is not None and ca_path(state_dir).exists() else None


def issue(
    state_dir: Path,
    name: str,
    dns_names: Sequence[str],
    ips: Sequence[str] = (),
    *,
    folder: Path | None = None,
    now: float | None = None,
) -> tuple[Path, Path]:
    """Certificate and key of one hop, made anew when names or CA changed or less than RENEW_DAYS are left.

    With `folder` they are cert.pem and key.pem in it, for one that may see nothing else of the state directory.
    ConfigError for a name that the CA is not allowed to vouch for.
    """
    moment = time.time() if now is None else now
    wanted = list(dict.fromkeys(host.lower().rstrip(".") for host in dns_names))
    addresses = list(dict.fromkeys(str(ipaddress.ip_address(ip)) for ip in ips))
    if folder is None:
        folder = state_dir / "certs"
        cert, key, facts = folder / f"{name}.pem", folder / f"{name}-key.pem", folder / f"{name}.json"
    else:
        cert, key, facts = folder / "cert.pem", folder / "key.pem", folder / "cert.json"
    with _locked(state_dir):
        _ensure(state_dir, wanted, moment)
        folder.mkdir(mode=0o700, exist_ok=True)
        known = _read(facts)
        if (
            known is not None
            and key.exists()
            and (known.names, known.ips) == (wanted, addresses)
            and known.not_after - moment > RENEW_DAYS * _DAY
            and known.sha256 == _sha256(cert)
            and known.ca_sha256 == _sha256(ca_path(state_dir))
        ):
            return cert, key
        _check_permitted(state_dir, wanted, addresses)
        facts.unlink(missing_ok=True)  # a key without its certificate must not be taken for whole
        not_after = _issue(state_dir, name, wanted, addresses, cert, key, moment)
        made = _Facts(_sha256(cert), _sha256(ca_path(state_dir)), wanted, addresses, not_after)
        _write(facts, msgspec.json.encode(made), 0o644)
    return cert, key


# The files.


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock when its holder dies."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "ca.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or state_dir}: {error.strerror}; "
            "choose another state directory with --state-dir or HOPSTACK_HOME"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
    temporary.replace(path)


def _read(path: Path) -> _Facts | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Facts)
    except (OSError, msgspec.MsgspecError):
        return None


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _ensure(state_dir: Path, names: Iterable[str], now: float) -> None:
    cert, key, facts = ca_path(state_dir), state_dir / "ca-key.pem", state_dir / "ca.json"
    known = _read(facts)
    if cert.exists():
        # the certificate is written last, so it is either ours and whole or somebody else's
        if known is None or not key.exists() or known.sha256 != _sha256(cert):
            raise ConfigError(
                f"{cert} is not the CA that was made here (its key or ca.json is missing or another's); "
                f"remove ca.pem and ca-key.pem from {state_dir} to have a new one made"
            )
        if known.not_after - now > RENEW_DAYS * _DAY:
            return
    permitted = list(dict.fromkeys([*NAMES, *(known.names if known else ()), *(_base(name) for name in names)]))
    # a name below another one is permitted by it
    permitted = [name for name in permitted if not any(name.endswith(f".{other}") for other in permitted)]
    certificate, private = _make_ca(permitted, now)
    digest = hashlib.sha256(certificate).hexdigest()
    made = _Facts(digest, digest, permitted, list(NETWORKS), now + CA_DAYS * _DAY)
    _write(key, private, 0o600)
    _write(facts, msgspec.json.encode(made), 0o644)
    _write(cert, certificate, 0o644)


def _base(name: str) -> str:
    return name.lower().rstrip(".").removeprefix("*.")


def _check_permitted(state_dir: Path, names: Sequence[str], ips: Sequence[str]) -> None:
    known = _read(state_dir / "ca.json")
    permitted = known.names if known is not None else []
    for name in names:
        if not any(_base(name) == other or _base(name).endswith(f".{other}") for other in permitted):
            raise ConfigError(
                f"the local CA may not vouch for {name!r}, only for {', '.join(permitted)} and loopback; "
                f"give --cert and --key, or remove ca.pem and ca-key.pem from {state_dir} to have a new CA made"
            )
    for ip in ips:
        if not any(ipaddress.ip_address(ip) in ipaddress.ip_network(network) for network in NETWORKS):
            raise ConfigError(f"the local CA may not vouch for {ip}, only for loopback; give --cert and --key")


# The certificates.


def _key_pair() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: str, issuer: x509.Name | None, public: Any, now: float, days: float
) -> tuple[x509.CertificateBuilder, x509.Name]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    # RFC 5280 Appendix A: ub-common-name is 64
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - _BACKDATED))
        .not_valid_after(_moment(now + days * _DAY))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder, name


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _usage(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    kinds = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{kind: allowed.get(kind, False) for kind in kinds})


def _make_ca(names: Sequence[str], now: float) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    private, pem = _key_pair()
    public = private.public_key()
    networks = [x509.IPAddress(ipaddress.ip_network(network)) for network in NETWORKS]
    builder, _ = _builder(f"hopstack local CA {_moment(now):%Y-%m-%d %H:%M:%S}", None, public, now, CA_DAYS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(
            x509.NameConstraints([*(x509.DNSName(_ascii(name)) for name in names), *networks], None), critical=True
        )
        .sign(private, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), pem


def _issue(
    state_dir: Path, name: str, names: Sequence[str], ips: Sequence[str], cert: Path, key: Path, now: float
) -> float:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority = x509.load_pem_x509_certificate(ca_path(state_dir).read_bytes())
    signer = load_pem_private_key((state_dir / "ca-key.pem").read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != authority.public_key():
        raise ConfigError(f"{state_dir / 'ca-key.pem'} is not the key of ca.pem; remove both to have a new CA made")
    days = min(LEAF_DAYS, (authority.not_valid_after_utc.timestamp() - now) / _DAY)
    private, pem = _key_pair()
    builder, _ = _builder(name, authority.subject, private.public_key(), now, days)
    alternatives = [
        *(x509.DNSName(_ascii(host)) for host in names),
        *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips),
    ]
    signer_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(signer, SHA256())
    )
    _write(key, pem, 0o600)
    _write(cert, certificate.public_bytes(Encoding.PEM), 0o644)
    return now + days * _DAY


def _ascii(name: str) -> str:
    """A name as certificates spell it (RFC 5280 §7.2)."""
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise ConfigError(f"{name!r} is not a host name") from None
