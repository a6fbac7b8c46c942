"""What the kernel says by netlink, taken apart; and whatever it may say, we get to its end."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hostports.linux.multicast import Message, attributes, messages, sender
from hostports.linux.rule_watch import changes


def spelled(message: Message) -> bytes:
    header = struct.pack("=IHHII", 16 + len(message.body), message.kind, 0, 1, message.port)
    return header + message.body + b"\0" * (-len(message.body) % 4)


MESSAGES = st.builds(
    Message, st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)
)
ATTRIBUTES = st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20), max_size=5)


@given(st.lists(MESSAGES, max_size=5))
def test_a_datagram_is_its_messages(said: list[Message]) -> None:
    datagram = b"".join(map(spelled, said))
    assert list(messages(datagram)) == said
    assert sender(datagram) == (said[0].port if said else 0)


@given(ATTRIBUTES, st.booleans())
def test_a_message_is_its_attributes_whatever_flags_they_have(
    said: dict[int, bytes],
    nested: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    body = b"".join(
        struct.pack("=HH", 4 + len(value), kind | nested << 15) + value + b"\0" * (-len(value) % 4)
        for kind, value in said.items()
    )
    assert attributes(body) == said


@given(st.binary(max_size=200))
def test_what_makes_no_sense_comes_to_an_end(datagram: bytes) -> None:
    list(messages(datagram))
    attributes(datagram)
    assert list(changes(datagram)) == []
