"""A certificate authority of a test, and certificates that it signs."""

from __future__ import annotations

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._serial = 1
        authority = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder("test authority", self._key).add_extension(authority, critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    def issue(self, chain: Path, key: Path) -> int:
        """Write a new certificate and its key. Returns the certificate's serial number."""
        own = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = self._builder("webhook", own).add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate.serial_number

    @property
    def pem(self) -> bytes:
        """The certificate that whoever trusts this authority knows it by."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.pem.decode())

    def _builder(self, common: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        self._serial += 1
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name("test authority"))
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )
