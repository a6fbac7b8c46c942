"""One suite for the fake facts and Linux's: what `HostFacts` tells of interfaces, both tell."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

import pytest
from pyroute2 import IPRoute

from hostports.interfaces import HostFacts
from hostports.linux.facts import LinuxHostFacts
from hostports.model.host import InterfaceAddress
from hostports.testing import FakeHostFacts
from tests.netns.namespaces import namespace

IPS = [ip_address(each) for each in ("192.0.2.10", "192.0.2.11", "2001:db8::10")]


class Case(NamedTuple):
    """Facts, and a way to make an interface with addresses, as ``192.0.2.10/24``."""

    facts: HostFacts
    make: Callable[[str, Sequence[str]], None]


@contextmanager
def fake() -> Iterator[Case]:
    facts = FakeHostFacts()

    def make(name: str, addresses: Sequence[str]) -> None:
        ips = (each.partition("/")[0] for each in addresses)
        facts.interfaces[name] = [InterfaceAddress(ip_address(each)) for each in ips]

    yield Case(facts, make)


@contextmanager
def real() -> Iterator[Case]:
    def make(name: str, addresses: Sequence[str]) -> None:
        with IPRoute() as links:
            links.link("add", ifname=name, kind="veth", peer=f"{name}p")
            (index,) = links.link_lookup(ifname=name)
            for each in addresses:
                ip, _, length = each.partition("/")
                links.addr("add", index=index, address=ip, prefixlen=int(length))

    with namespace() as host, host.entered():
        yield Case(LinuxHostFacts(), make)


@pytest.fixture(params=[fake, real], ids=["fake", "linux"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with request.param() as case:
        yield case


def test_an_interface_that_is_not_there_has_none(case: Case) -> None:
    assert case.facts.addresses("eth7") is None


def test_one_without_addresses_is_there(case: Case) -> None:
    case.make("eth7", [])
    assert case.facts.addresses("eth7") == []


def test_each_has_its_own_addresses(case: Case) -> None:
    case.make("eth7", ["192.0.2.10/24", "192.0.2.11/24", "2001:db8::10/64"])
    case.make("eth8", ["192.0.2.12/24"])
    found = case.facts.addresses("eth7")
    assert found is not None
    assert [each.ip for each in found] == IPS
    assert not any(each.temporary for each in found)
