# SPDX-License-Identifier: Apache-2.0
"""Owns the key pairs of the local stack: Ed25519 per service (RFC 8037), and a self-signed TLS certificate."""

import base64
import ipaddress
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from giaoban_dev.infra.credentials import Credentials

JWKS_NAME = "service-keys.json"
_CERTIFICATE_LIFETIME = timedelta(days=90)
_RENEW_BEFORE = timedelta(days=14)


def service_key_file(credentials: Credentials, name: str) -> Path:
    """Return the PEM file (PKCS#8) with a service's private key, made when missing."""
    file = credentials.directory / f"service-{name}.pem"
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        credentials.write(file.name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def service_jwks_file(credentials: Credentials, names: Iterable[str]) -> Path:
    """Return the JSON file with the public key of every service: name -> JWK (RFC 8037), written anew."""
    keys = {}
    for name in names:
        private = load_pem_private_key(service_key_file(credentials, name).read_bytes(), password=None)
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        keys[name] = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": name, "use": "sig", "alg": "EdDSA"}
    return credentials.write(JWKS_NAME, json.dumps(keys, indent=2).encode())


def tls_files(credentials: Credentials, address: str) -> tuple[Path, Path]:
    """Return certificate and key for https on `address`; made again when they expire soon or name another one."""
    certificate_file, key_file = credentials.directory / "tls.crt", credentials.directory / "tls.key"
    if not (certificate_file.exists() and key_file.exists() and _usable(certificate_file, address)):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Giaoban local stack")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + _CERTIFICATE_LIFETIME)
            .add_extension(_names(address), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, SHA256())
        )
        credentials.write(key_file.name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        credentials.write(certificate_file.name, certificate.public_bytes(Encoding.PEM))
    return certificate_file, key_file


def _names(address: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")]
    )


def _usable(file: Path, address: str) -> bool:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names == _names(address) and certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
