# SPDX-License-Identifier: Apache-2.0
"""Owns STUN messages as ICE uses them: building, parsing, verifying (RFC 8489, RFC 8445 section 7).

Sans-IO: nothing here sends. Only short-term credentials and the attributes a controlling ICE agent needs.
"""

import hmac
import os
import socket
import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum

MAGIC_COOKIE = 0x2112A442
HEADER_BYTES = 20
MAX_MESSAGE_BYTES = 1280  # RFC 8489 section 6.1: what fits without knowing the path MTU
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_BYTES = 20
_INTEGRITY_ATTRIBUTE_BYTES = 4 + _INTEGRITY_BYTES
_FINGERPRINT_ATTRIBUTE_BYTES = 8
# Peer-reflexive type preference 110, local preference 65535, component 1 (RFC 8445 section 5.1.2).
PEER_REFLEXIVE_PRIORITY = (110 << 24) | (0xFFFF << 8) | 255


class StunError(ValueError):
    """The datagram is no acceptable STUN message."""


class Type(IntEnum):
    """Message types: the binding method with its classes."""

    BINDING_REQUEST = 0x0001
    BINDING_INDICATION = 0x0011
    BINDING_SUCCESS = 0x0101
    BINDING_ERROR = 0x0111


class Attribute(IntEnum):
    """Attribute types (RFC 8489 section 18.3, RFC 8445 section 20.1)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


@dataclass(frozen=True)
class Message:
    """A parsed message; `attributes` keeps the first occurrence of each type, as RFC 8489 section 14 demands."""

    type: int
    transaction: bytes
    attributes: dict[int, bytes]
    raw: bytes = field(repr=False)
    integrity_offset: int | None = None

    @property
    def username(self) -> str:
        """USERNAME, empty when absent or not UTF-8."""
        try:
            return self.attributes.get(Attribute.USERNAME, b"").decode()
        except UnicodeDecodeError:
            return ""

    @property
    def error_code(self) -> int | None:
        """The code of ERROR-CODE (300..699), None when absent or malformed."""
        value = self.attributes.get(Attribute.ERROR_CODE, b"")
        return (value[2] & 7) * 100 + value[3] if len(value) >= 4 else None

    def has_integrity(self, key: bytes) -> bool:
        """Tell whether MESSAGE-INTEGRITY is present and was made with `key`."""
        if self.integrity_offset is None:
            return False
        start = self.integrity_offset
        expected = _integrity(self.raw, start, key)
        return hmac.compare_digest(expected, self.raw[start + 4 : start + 4 + _INTEGRITY_BYTES])

    def mapped_address(self) -> tuple[str, int] | None:
        """XOR-MAPPED-ADDRESS as (IPv4 address, port), None when absent or not IPv4."""
        value = self.attributes.get(Attribute.XOR_MAPPED_ADDRESS, b"")
        if len(value) != 8 or value[1] != 1:
            return None
        port, address = struct.unpack(">HI", value[2:])
        return socket.inet_ntoa(struct.pack(">I", address ^ MAGIC_COOKIE)), port ^ (MAGIC_COOKIE >> 16)


def is_stun(datagram: bytes) -> bool:
    """Tell STUN from DTLS and RTP by the first byte (RFC 7983)."""
    return len(datagram) >= HEADER_BYTES and datagram[0] < 4


def new_transaction() -> bytes:
    """Return a fresh transaction id of 12 bytes."""
    return os.urandom(12)


def parse(datagram: bytes) -> Message:
    """Parse a datagram; raises StunError when it is malformed or its FINGERPRINT does not match."""
    if not HEADER_BYTES <= len(datagram) <= MAX_MESSAGE_BYTES:
        raise StunError(f"length {len(datagram)} is not that of a STUN message")
    kind, length, cookie = struct.unpack_from(">HHI", datagram)
    if kind & 0xC000 or cookie != MAGIC_COOKIE:
        raise StunError("no STUN message: magic cookie missing")
    if length % 4 or length + HEADER_BYTES != len(datagram):
        raise StunError(f"length field {length} disagrees with the datagram of {len(datagram)} bytes")
    attributes: dict[int, bytes] = {}
    integrity_offset: int | None = None
    position = HEADER_BYTES
    while position < len(datagram):
        name, size = struct.unpack_from(">HH", datagram, position)
        value = datagram[position + 4 : position + 4 + size]
        if len(value) != size:
            raise StunError(f"attribute 0x{name:04x} runs past the end")
        if name == Attribute.FINGERPRINT:
            _check_fingerprint(datagram, position, value)
        elif name == Attribute.MESSAGE_INTEGRITY and integrity_offset is None:
            if size != _INTEGRITY_BYTES:
                raise StunError(f"MESSAGE-INTEGRITY has {size} bytes instead of {_INTEGRITY_BYTES}")
            integrity_offset = position
        # What follows MESSAGE-INTEGRITY is not protected by it and must be ignored (RFC 8489 section 14.5).
        if integrity_offset is None or position <= integrity_offset or name == Attribute.FINGERPRINT:
            attributes.setdefault(name, value)
        position += 4 + size + (-size % 4)
    return Message(kind, datagram[8:20], attributes, datagram, integrity_offset)


def build(kind: int, transaction: bytes, attributes: list[tuple[int, bytes]], key: bytes) -> bytes:
    """Build a message with MESSAGE-INTEGRITY (made with `key`) and FINGERPRINT at its end."""
    body = b"".join(
        struct.pack(">HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    length = len(body) + _INTEGRITY_ATTRIBUTE_BYTES + _FINGERPRINT_ATTRIBUTE_BYTES
    message = struct.pack(">HHI", kind, length, MAGIC_COOKIE) + transaction + body
    digest = _integrity(message, len(message), key)
    message += struct.pack(">HH", Attribute.MESSAGE_INTEGRITY, _INTEGRITY_BYTES) + digest
    return message + struct.pack(">HHI", Attribute.FINGERPRINT, 4, zlib.crc32(message) ^ _FINGERPRINT_XOR)


def binding_request(
    transaction: bytes, *, username: str, key: bytes, tie_breaker: bytes, nominate: bool
) -> bytes:
    """Build a connectivity check of the controlling agent; `username` is `<remote ufrag>:<own ufrag>`."""
    attributes = [
        (Attribute.USERNAME, username.encode()),
        (Attribute.PRIORITY, struct.pack(">I", PEER_REFLEXIVE_PRIORITY)),
        (Attribute.ICE_CONTROLLING, tie_breaker),
    ]
    if nominate:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    return build(Type.BINDING_REQUEST, transaction, [(int(n), v) for n, v in attributes], key)


def binding_success(transaction: bytes, *, address: tuple[str, int], key: bytes) -> bytes:
    """Build the answer to a check that came from `address` (IPv4)."""
    (host,) = struct.unpack(">I", socket.inet_aton(address[0]))
    value = struct.pack(">BBHI", 0, 1, address[1] ^ (MAGIC_COOKIE >> 16), host ^ MAGIC_COOKIE)
    return build(Type.BINDING_SUCCESS, transaction, [(Attribute.XOR_MAPPED_ADDRESS, value)], key)


def _integrity(message: bytes, offset: int, key: bytes) -> bytes:
    # The length field counts up to and with MESSAGE-INTEGRITY itself, whatever follows it.
    length = offset - HEADER_BYTES + _INTEGRITY_ATTRIBUTE_BYTES
    return hmac.digest(key, message[:2] + struct.pack(">H", length) + message[4:offset], "sha1")


def _check_fingerprint(datagram: bytes, position: int, value: bytes) -> None:
    expected = struct.pack(">I", zlib.crc32(datagram[:position]) ^ _FINGERPRINT_XOR)
    if value != expected or position + _FINGERPRINT_ATTRIBUTE_BYTES != len(datagram):
        raise StunError("FINGERPRINT does not match")
