"""Addresses as the kernel has them: not all of them can be used, and their changes are told."""

import subprocess
from collections.abc import Iterator
from select import select

import pytest

from hostports.linux.address_watch import AddressWatch
from hostports.linux.addresses import addresses_of
from tests.netns.namespaces import Namespace, namespace
from tests.relay.waiting import PATIENCE_S, eventually


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host with an interface that is up, and whose addresses are checked for duplicates."""
    with namespace() as made, made.entered():
        ip("link add eth7 type veth peer name eth8")
        ip("link set eth8 up")
        ip("link set eth7 up")
        yield made


def ip(words: str) -> None:
    command = ["ip", *words.split()]
    subprocess.run(command, check=True, capture_output=True)


def publishable() -> list[str]:
    return [str(each.ip) for each in addresses_of("eth7") or () if each.publishable]


@pytest.mark.usefixtures("host")
def test_an_address_is_tentative_until_it_was_checked() -> None:
    ip("addr add 2001:db8::10/64 dev eth7")
    (found,) = (each for each in addresses_of("eth7") or () if not each.ip.is_link_local)
    assert found.tentative
    eventually(lambda: publishable() == ["2001:db8::10"], "the check is over")


@pytest.mark.usefixtures("host")
def test_an_address_that_somebody_else_has_is_never_used() -> None:
    ip("addr add 2001:db8::10/64 dev eth8 nodad")
    ip("addr add 2001:db8::10/64 dev eth7")
    listed = ["ip", "-6", "addr", "show", "dev", "eth7", "dadfailed"]
    eventually(lambda: subprocess.run(listed, capture_output=True, check=True).stdout, "a clash")
    assert publishable() == []


@pytest.mark.usefixtures("host")
def test_a_temporary_address_is_left_out_and_a_deprecated_one_is_not(host: Namespace) -> None:
    host.sysctl("net.ipv6.conf.eth7.use_tempaddr", "2")
    ip("addr add 2001:db8::10/64 dev eth7 nodad mngtmpaddr")
    ip("addr add 2001:db8::11/64 dev eth7 nodad preferred_lft 0")
    eventually(lambda: any(each.temporary for each in addresses_of("eth7") or ()), "a temporary")
    assert sorted(publishable()) == ["2001:db8::10", "2001:db8::11"]


@pytest.mark.usefixtures("host")
def test_our_end_of_a_point_to_point_link_is_meant_and_secondary_addresses_are() -> None:
    ip("addr add 192.0.2.10 peer 192.0.2.20/32 dev eth7")
    ip("addr add 198.51.100.1/24 dev eth7")
    ip("addr add 198.51.100.2/24 dev eth7")
    ip("addr add 2001:db8::10 peer 2001:db8::20/128 dev eth7 nodad")
    assert publishable() == ["192.0.2.10", "198.51.100.1", "198.51.100.2", "2001:db8::10"]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("before", "change", "told"),
    [
        ("", "addr add 192.0.2.10/24 dev eth7", "an address is new, or other than it was"),
        ("addr add 192.0.2.10/24 dev eth7", "addr flush dev eth7", "an address has gone"),
        ("addr add 192.0.2.10/24 dev eth7", "link del eth7", "an address has gone"),
        ("addr add 2001:db8::10/64 dev eth7 nodad", "link del eth7", "an address has gone"),
        ("link set eth7 down", "link set eth7 name wan0", "an interface is new, or other than"),
    ],
)
def test_what_changes_is_told(before: str, change: str, told: str) -> None:
    eventually(lambda: not any(each.tentative for each in addresses_of("eth7") or ()), "quiet")
    if before:
        ip(before)
    watch = AddressWatch()
    try:
        ip(change)
        said: list[str] = []
        while not any(told in each for each in said):
            assert select([watch], [], [], PATIENCE_S)[0]
            said += watch.read()
        eventually(lambda: watch.read() == [], "an end")
    finally:
        watch.close()
