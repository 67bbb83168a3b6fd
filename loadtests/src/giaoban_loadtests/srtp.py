# SPDX-License-Identifier: Apache-2.0
"""Owns the mapping from exported DTLS keys to libsrtp sessions (RFC 3711, RFC 7714)."""

from dataclasses import dataclass
from typing import Protocol

import pylibsrtp

from giaoban_loadtests.dtls import SrtpKeys

SrtpError = pylibsrtp.Error
_PROFILES = {
    "SRTP_AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "SRTP_AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


class Protect(Protocol):
    """Protects one direction; packets are at most 1,352 bytes."""

    def protect(self, packet: bytes) -> bytes: ...
    def protect_rtcp(self, packet: bytes) -> bytes: ...


class Unprotect(Protocol):
    """Verifies and decrypts the other direction; raises SrtpError, or ValueError when a packet is too long."""

    def unprotect(self, packet: bytes) -> bytes: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes: ...


@dataclass(frozen=True)
class SrtpPair:
    """The two directions of one connection."""

    outbound: Protect
    inbound: Unprotect


def srtp_pair(keys: SrtpKeys) -> SrtpPair:
    """Build the sessions for exported keys."""
    profile = _PROFILES[keys.profile]
    outbound = pylibsrtp.Policy(
        key=keys.local, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
    )
    inbound = pylibsrtp.Policy(
        key=keys.remote, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=profile
    )
    return SrtpPair(pylibsrtp.Session(outbound), pylibsrtp.Session(inbound))
