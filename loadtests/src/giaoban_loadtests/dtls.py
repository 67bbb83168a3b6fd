# SPDX-License-Identifier: Apache-2.0
"""Owns DTLS-SRTP: the handshake over datagrams, the check of the peer's fingerprint, the exported SRTP keys.

Sans-IO over OpenSSL's memory BIO (RFC 5764, RFC 8122). One certificate serves the whole process.
"""

import datetime as dt
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

Role = Literal["client", "server"]

MTU = 1200  # UDP payload bytes of one handshake datagram
_EXPORT_LABEL = b"EXTRACTOR-dtls_srtp"
_MAX_DATAGRAM_BYTES = 2048
# Name → (master key bytes, master salt bytes), what Chromium offers and in its order (RFC 5764 section 4.1.2, RFC 7714).
SRTP_PROFILES = {
    "SRTP_AEAD_AES_256_GCM": (32, 12),
    "SRTP_AEAD_AES_128_GCM": (16, 12),
    "SRTP_AES128_CM_SHA1_80": (16, 14),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


class DtlsError(Exception):
    """The handshake failed, or the peer is not the one that the SDP named."""


@dataclass(frozen=True)
class Fingerprint:
    """A certificate's fingerprint as SDP writes it: `sha-256`, `AB:CD:…`."""

    algorithm: str
    value: str

    def matches(self, certificate: x509.Certificate) -> bool:
        """Tell whether `certificate` has this fingerprint; an unknown algorithm never matches."""
        algorithm = _HASHES.get(self.algorithm.lower())
        if algorithm is None:
            return False
        digest = certificate.fingerprint(algorithm).hex(":").upper()
        return hmac.compare_digest(digest.encode(), self.value.upper().encode())


@dataclass(frozen=True)
class SrtpKeys:
    """Master key plus salt of both directions, and the profile they are for."""

    profile: str
    local: bytes
    remote: bytes


@lru_cache(maxsize=1)
def _certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "giaoban-loadtests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate, key


@lru_cache(maxsize=len(SRTP_PROFILES) + 1)
def _context(profiles: tuple[str, ...]) -> SSL.Context:
    certificate, key = _certificate()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_tlsext_use_srtp(":".join(profiles).encode())
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    # Every datagram is handled as it comes: buffers between them would only cost memory.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


@lru_cache(maxsize=1)
def own_fingerprint() -> Fingerprint:
    """Return the fingerprint of this process' certificate, for the SDP."""
    certificate, _ = _certificate()
    return Fingerprint("sha-256", certificate.fingerprint(hashes.SHA256()).hex(":").upper())


def _verify(connection: SSL.Connection, certificate: object, _error: int, depth: int, _ok: int) -> bool:
    # Self-signed on both sides: the fingerprint, which came over the signalling, is the only trust there is.
    expected = connection.get_app_data()
    if depth != 0 or not isinstance(expected, Fingerprint):
        return False
    to_cryptography = getattr(certificate, "to_cryptography", None)
    return to_cryptography is not None and expected.matches(to_cryptography())


class DtlsSession:
    """One DTLS association as `role`; the peer's certificate must have the fingerprint `expected`.

    `profiles` are the names of SRTP_PROFILES that are offered. Feed it datagrams and call `on_timer` every tenth of a
    second or so until `keys` are there; send what `outgoing` returns after each call. All of them raise DtlsError when
    the association is over.
    """

    def __init__(
        self, role: Role, expected: Fingerprint, profiles: Sequence[str] = tuple(SRTP_PROFILES)
    ) -> None:
        self.keys: SrtpKeys | None = None
        self.closed = False
        self._role = role
        self._hello: list[bytes] = []  # our first flight, until the peer has said anything
        self._again: list[bytes] = []
        self._connection = SSL.Connection(_context(tuple(profiles)))
        self._connection.set_app_data(expected)
        self._connection.set_ciphertext_mtu(MTU)
        if role == "client":
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def start(self) -> None:
        """Begin the handshake; a client has its ClientHello in `outgoing` then."""
        self._advance()
        self._hello = self.outgoing()
        self._again = list(self._hello)

    def feed(self, datagram: bytes) -> None:
        """Take one datagram from the peer."""
        if self.closed or not datagram:
            return
        self._hello.clear()
        self._connection.bio_write(datagram)
        self._advance()

    def on_timer(self) -> None:
        """Retransmit a flight that got no answer; the first one each time.

        A peer that does not know us yet drops it, and OpenSSL's own timer begins at a second, browsers' at 50 ms.
        """
        self._again = list(self._hello)
        if self.keys is None and not self.closed:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error as error:
                raise DtlsError(f"DTLS handshake timed out: {_reasons(error)}") from error

    def outgoing(self) -> list[bytes]:
        """Return the datagrams to send now."""
        datagrams, self._again = self._again, []
        try:
            while True:
                datagrams.append(self._connection.bio_read(_MAX_DATAGRAM_BYTES))
        except SSL.Error:
            return datagrams

    def close(self) -> None:
        """Tell the peer that it is over (close_notify in `outgoing`)."""
        if not self.closed:
            self.closed = True
            try:
                self._connection.shutdown()
            except SSL.Error:
                return  # the handshake had not ended: there is nothing to close

    def _advance(self) -> None:
        try:
            if self.keys is None:
                self._connection.do_handshake()
                self.keys = self._export()
            else:
                self._connection.recv(_MAX_DATAGRAM_BYTES)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError as error:
            self.closed = True
            raise DtlsError("the peer closed the DTLS association") from error
        except SSL.Error as error:
            self.closed = True
            raise DtlsError(
                f"DTLS failed (the peer's certificate must have the fingerprint of its SDP): {_reasons(error)}"
            ) from error

    def _export(self) -> SrtpKeys:
        profile = self._connection.get_selected_srtp_profile().decode()
        if profile not in SRTP_PROFILES:
            self.closed = True
            raise DtlsError(f"the peer agreed on no SRTP profile of {', '.join(SRTP_PROFILES)}")
        key, salt = SRTP_PROFILES[profile]
        material = self._connection.export_keying_material(_EXPORT_LABEL, 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        return SrtpKeys(profile, *((client, server) if self._role == "client" else (server, client)))


def _reasons(error: Exception) -> str:
    """Return OpenSSL's reasons only; they never hold key material."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(reason[-1]) for reason in reasons) or type(error).__name__
