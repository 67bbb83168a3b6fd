# SPDX-License-Identifier: Apache-2.0
"""DTLS-SRTP between two of our own ends: keys agree, and the peer's fingerprint decides."""

import pytest
from giaoban_loadtests import rtp
from giaoban_loadtests.dtls import (
    SRTP_PROFILES,
    DtlsError,
    DtlsSession,
    Fingerprint,
    SrtpKeys,
    own_fingerprint,
)
from giaoban_loadtests.srtp import SrtpError, srtp_pair
from hypothesis import given
from hypothesis import strategies as st

WRONG = Fingerprint("sha-256", ":".join(["00"] * 32))


def handshake(client: DtlsSession, server: DtlsSession) -> None:
    client.start()
    for _ in range(10):
        for sender, receiver in ((client, server), (server, client)):
            for datagram in sender.outgoing():
                receiver.feed(datagram)


def test_both_sides_export_the_same_keys() -> None:
    """After the handshake each side's local key is the other's remote key, for AEAD AES-256 GCM."""
    client, server = DtlsSession("client", own_fingerprint()), DtlsSession("server", own_fingerprint())
    handshake(client, server)
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.profile == "SRTP_AEAD_AES_256_GCM"
    assert (client.keys.local, client.keys.remote) == (server.keys.remote, server.keys.local)
    client.close()
    with pytest.raises(DtlsError, match="closed"):
        for datagram in client.outgoing():
            server.feed(datagram)


@pytest.mark.parametrize("deceived", ["client", "server"])
def test_a_peer_with_another_certificate_is_refused(deceived: str) -> None:
    """Whoever sees another certificate than its SDP named ends the handshake without keys."""
    client = DtlsSession("client", WRONG if deceived == "client" else own_fingerprint())
    server = DtlsSession("server", WRONG if deceived == "server" else own_fingerprint())
    with pytest.raises(DtlsError, match="fingerprint"):
        handshake(client, server)
    assert (client if deceived == "client" else server).keys is None


def test_an_unknown_hash_never_matches() -> None:
    """A fingerprint made with a hash that is not trusted is refused."""
    client = DtlsSession("client", Fingerprint("md5", own_fingerprint().value))
    with pytest.raises(DtlsError):
        handshake(client, DtlsSession("server", own_fingerprint()))


@pytest.mark.parametrize("profile", SRTP_PROFILES)
def test_srtp_protects_with_every_profile(profile: str) -> None:
    """What one side protects the other reads; a changed packet is refused."""
    key, salt = SRTP_PROFILES[profile]
    one, two = bytes(range(key + salt)), bytes(range(1, key + salt + 1))
    near, far = srtp_pair(SrtpKeys(profile, one, two)), srtp_pair(SrtpKeys(profile, two, one))
    packet = rtp.HEADER.pack(0x80, 111, 1, 2, 3) + b"voice"
    protected = near.outbound.protect(packet)
    assert b"voice" not in protected
    with pytest.raises(SrtpError):
        far.inbound.unprotect(protected[:-1] + bytes([protected[-1] ^ 1]))
    assert far.inbound.unprotect(protected) == packet


@given(st.binary(max_size=300))
def test_hostile_datagrams_raise_only_dtls_errors(data: bytes) -> None:
    """Whatever comes before or instead of a handshake is dropped or refused with DtlsError."""
    for first in (b"", b"\x16\xfe\xfd"):
        server = DtlsSession("server", own_fingerprint())
        try:
            server.feed(first + data)
        except DtlsError:
            continue
        assert server.keys is None
