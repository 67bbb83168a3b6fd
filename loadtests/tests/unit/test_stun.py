# SPDX-License-Identifier: Apache-2.0
"""STUN messages are those of RFC 8489, checked with the test vectors of RFC 5769."""

import pytest
from giaoban_loadtests import stun
from giaoban_loadtests.ice import CONSENT_TIMEOUT, IceAgent
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
PEER = ("10.0.0.1", 5000)


def test_request_of_rfc_5769() -> None:
    """The sample request parses, and its integrity holds for its password only."""
    message = stun.parse(REQUEST)
    assert message.type == stun.Type.BINDING_REQUEST
    assert message.username == "evtj:h6vY"
    assert message.attributes[stun.Attribute.PRIORITY] == bytes.fromhex("6e0001ff")
    assert message.has_integrity(PASSWORD)
    assert not message.has_integrity(b"another")


def test_response_of_rfc_5769() -> None:
    """The sample IPv4 response gives the mapped address 192.0.2.1:32853."""
    message = stun.parse(RESPONSE)
    assert message.mapped_address() == ("192.0.2.1", 32853)
    assert message.has_integrity(PASSWORD)


def test_what_is_built_is_what_was_sampled() -> None:
    """Building the sample request's attributes again gives the same integrity and fingerprint."""
    names = (
        stun.Attribute.SOFTWARE,
        stun.Attribute.PRIORITY,
        stun.Attribute.ICE_CONTROLLED,
        stun.Attribute.USERNAME,
    )
    sample = stun.parse(REQUEST)
    attributes = [(int(name), sample.attributes[name]) for name in names]
    built = stun.build(sample.type, sample.transaction, attributes, PASSWORD)
    # The vector pads with spaces where we pad with zeros, which integrity covers.
    assert len(built) == len(REQUEST)
    assert stun.parse(built).attributes.keys() == sample.attributes.keys()
    assert stun.parse(built).has_integrity(PASSWORD)


@pytest.mark.parametrize("index", [8, 40, 60, 80, 107])
def test_a_changed_byte_is_noticed(index: int) -> None:
    """A message changed on the way is refused by its fingerprint."""
    changed = bytearray(REQUEST)
    changed[index] ^= 1
    with pytest.raises(stun.StunError):
        stun.parse(bytes(changed))


def agent() -> IceAgent:
    made = IceAgent()
    made.set_remote("them", "their-password", (PEER,))
    return made


def test_a_check_is_answered_and_gives_consent() -> None:
    """An authentic answer selects the path and renews consent for thirty seconds."""
    ice = agent()
    ((request, address),) = ice.next_checks()[0]
    sent = stun.parse(request)
    assert address == PEER
    assert sent.username == f"them:{ice.ufrag}"
    assert stun.Attribute.USE_CANDIDATE in sent.attributes
    answer = stun.binding_success(sent.transaction, address=("10.0.0.9", 1), key=b"their-password")
    assert ice.receive(answer, PEER, 100.0) == []
    assert ice.selected == PEER
    assert ice.consent_until == 100.0 + CONSENT_TIMEOUT


@pytest.mark.parametrize("fault", ["key", "transaction"])
def test_a_forged_answer_gives_no_consent(fault: str) -> None:
    """An answer with another key, or to a question never asked, is rejected."""
    ice = agent()
    sent = stun.parse(ice.next_checks()[0][0][0])
    key = b"guessed" if fault == "key" else b"their-password"
    transaction = sent.transaction if fault == "key" else bytes(12)
    ice.receive(stun.binding_success(transaction, address=PEER, key=key), PEER, 1.0)
    assert ice.selected is None
    assert ice.rejected == 1


def test_the_best_of_several_candidates_is_nominated_when_it_answers() -> None:
    """With several candidates none is nominated before it has answered."""
    ice = agent()
    ice.add_candidate(("10.0.0.2", 6000))
    checks = ice.next_checks()[0]
    assert all(stun.Attribute.USE_CANDIDATE not in stun.parse(check).attributes for check, _ in checks)
    answer = stun.binding_success(stun.parse(checks[1][0]).transaction, address=PEER, key=b"their-password")
    ((nomination, address),) = ice.receive(answer, PEER, 1.0)
    assert address == ("10.0.0.2", 6000)
    assert stun.Attribute.USE_CANDIDATE in stun.parse(nomination).attributes


def test_the_peers_own_check_is_answered_only_when_authentic() -> None:
    """A binding request gets an answer when it carries our ufrag and password, else silence."""
    ice = agent()
    for key, answers in ((ice.password.encode(), 1), (b"guessed", 0)):
        request = stun.binding_request(
            bytes(12), username=f"{ice.ufrag}:them", key=key, tie_breaker=bytes(8), nominate=False
        )
        assert len(ice.receive(request, PEER, 1.0)) == answers


@given(st.binary(max_size=200))
def test_hostile_datagrams_are_counted(data: bytes) -> None:
    """Whatever looks like STUN is handled without an exception."""
    ice = agent()
    ice.receive(data, PEER, 1.0)
    ice.receive(REQUEST[:8] + data, PEER, 1.0)
    ice.receive(
        b"\x01\x01" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + data, PEER, 1.0
    )
    assert ice.selected is None
