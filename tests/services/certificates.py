"""A certificate authority of our own, with a server and a client certificate signed by it."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = datetime.timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """PEM files; `server_pem` holds key and certificate, as a Kafka broker's keystore wants it."""

    ca: Path
    server_pem: Path
    client_certificate: Path
    client_key: Path
    # Signed by nobody the broker or a careful client trusts.
    other_ca: Path


def make_certificates(folder: Path) -> Certificates:
    """Write a new authority and its certificates for 127.0.0.1 and localhost into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, ca = _authority("Frazil test authority")
    _, other = _authority("Another authority")
    server_key, server = _signed("localhost", ca_key, ca)
    client_key, client = _signed("frazil-client", ca_key, ca)
    made = Certificates(
        ca=folder / "ca.pem",
        server_pem=folder / "server.pem",
        client_certificate=folder / "client.pem",
        client_key=folder / "client.key",
        other_ca=folder / "other-ca.pem",
    )
    made.ca.write_bytes(_pem(ca))
    made.other_ca.write_bytes(_pem(other))
    made.server_pem.write_bytes(_key_pem(server_key) + _pem(server) + _pem(ca))
    made.client_certificate.write_bytes(_pem(client))
    made.client_key.write_bytes(_key_pem(client_key))
    return made


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, _name(name), key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return key, builder.sign(key, hashes.SHA256())


def _signed(
    name: str, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = _builder(name, ca.subject, key).add_extension(
        x509.SubjectAlternativeName(names), critical=False
    )
    return key, builder.sign(ca_key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
