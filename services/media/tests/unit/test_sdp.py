# SPDX-License-Identifier: Apache-2.0
"""What is taken out of session descriptions, and what is refused."""

import pytest
from giaoban_media.errors import OfferInvalid
from giaoban_media.janus.sdp import MAX_SDP_CHARACTERS, check_sdp, origin_of, without_transport_feedback

LINES = (
    "v=0",
    "o=- 17 3 IN IP4 10.77.0.1",
    "s=-",
    "t=0 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "a=mid:0",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "a=rtcp-fb:111 transport-cc",
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "a=mid:1",
    "a=extmap:3/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=rtcp-fb:96 ccm fir",
    "a=rtcp-fb:96 nack pli",
    "a=rtcp-fb:96 goog-remb",
    "a=rtcp-fb:* transport-cc",
    "a=rtcp-fb:96 transport-cc",
)
SDP = "".join(f"{line}\r\n" for line in LINES)


def test_an_offer_to_receive_asks_for_no_transport_feedback_and_is_the_same_otherwise() -> None:
    """Neither the header extension nor the feedback; every other line stays, in its place."""
    kept = [line for line in LINES if "transport" not in line]
    assert without_transport_feedback(SDP).split("\r\n")[:-1] == kept
    assert len(LINES) - len(kept) == 5


def test_what_is_no_session_description_is_refused_by_the_name_of_its_field() -> None:
    """Empty, without media, too long."""
    check_sdp(SDP, "offer")
    for wrong in ("", "v=0\r\ns=-\r\n", SDP + "a" * MAX_SDP_CHARACTERS):
        with pytest.raises(OfferInvalid, match=r"^answer: "):
            check_sdp(wrong, "answer")


def test_the_origin_is_what_stays_when_a_connection_is_negotiated_again() -> None:
    """The version grows with each offer (RFC 9429, section 5.2.2)."""
    assert origin_of(SDP) == origin_of(SDP.replace("17 3", "17 4")) == "o=- 17"
    assert origin_of(SDP) != origin_of(SDP.replace("17 3", "18 3"))
    assert not origin_of("v=0\r\n")
