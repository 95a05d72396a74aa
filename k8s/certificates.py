"""A demo certificate authority, and certificates of it for the local cluster. Real clusters use cert-manager.

Browsers are told to trust it, so it ends, and its certificates are good for servers alone: trustme's are not.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from toolkit import project

AUTHORITY_DAYS = 3650
SERVER_DAYS = 90
RENEW_DAYS = 30


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def load(self) -> x509.Certificate | None:
        """The certificate; None where there is no whole one, or the key is not its own."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            key = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        except (OSError, ValueError):
            return None
        return certificate if key.public_key() == certificate.public_key() else None

    @property
    def days_left(self) -> float:
        """Days until it expires; below zero afterwards, and where there is no usable one."""
        certificate = self.load()
        if certificate is None:
            return -1.0
        return (certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)).total_seconds() / 86400


def ensure_authority(folder: Path) -> Pair:
    """The authority of this folder, made on first use."""
    pair = Pair(folder / "ca.crt", folder / "ca.key")
    if pair.days_left < RENEW_DAYS:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{project.NAME.capitalize()} demo CA")])
        usage = _key_usage(key_cert_sign=True, crl_sign=True)
        builder = (
            _builder(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        _write(pair, builder.sign(key, hashes.SHA256()), key)
    return pair


def ensure_server(folder: Path, name: str, hosts: list[str], authority: Pair) -> Pair:
    """A server's certificate for these hosts, renewed when its end is near or the authority is another."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    present = pair.load()
    if present and pair.days_left >= RENEW_DAYS and _issued_by(present, issuer) and _hosts(present) == hosts:
        return pair
    issuer_key = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)  # noqa: S101  # we made it
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]),
            issuer.subject,
            key.public_key(),
            SERVER_DAYS,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), critical=False)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _write(pair, builder.sign(issuer_key, hashes.SHA256()), key)
    return pair


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pair.certificate.parent.mkdir(parents=True, exist_ok=True)
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.unlink(missing_ok=True)
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
