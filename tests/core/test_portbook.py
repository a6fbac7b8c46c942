from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from hostports import BridgeNetwork, Endpoint, PublishRequest, parse_spec
from hostports.core.expand import Circumstances, PortGroup, expand
from hostports.core.portbook import PortBook
from hostports.errors import NoPortFree
from hostports.model.host import Host, PortDriverInfo
from hostports.model.port import PortRange

WEB = Endpoint("web", BridgeNetwork("lab"), IPv4Address("172.19.0.2"))
BUILTIN = PortDriverInfo("builtin", frozenset({"tcp4", "udp4"}))
HOST = Host(dynamic_ports=PortRange(49200, 49201), listens_on_ipv6=False)


def group(*texts: str) -> PortGroup:
    specs = [spec for text in texts for spec in parse_spec(text)]
    (only,) = expand(PublishRequest(WEB, specs), Circumstances(HOST, driver=BUILTIN)).groups
    return only


def test_a_child_port_has_the_number_of_the_host_port_where_it_is_free() -> None:
    book = PortBook()
    pair = group("192.0.2.10:8080:80", "192.0.2.11:8080:80")
    assert [each.child and each.child.port for each in book.enter(pair, WEB, HOST)] == [8080, 49200]


def test_a_group_without_a_child_port_gives_its_host_port_back() -> None:
    book = PortBook()
    book.enter(group("192.0.2.10:8080:80"), WEB, HOST)
    book.enter(group("192.0.2.11:8080:80"), WEB, HOST)
    book.enter(group("192.0.2.12:8080:80"), WEB, HOST)
    before = (book.host.dump(), book.child.dump())
    crowd = group("192.0.2.13:8080:80", "192.0.2.14:8080:80")
    with pytest.raises(NoPortFree):
        book.enter(crowd, WEB, HOST)
    assert (book.host.dump(), book.child.dump()) == before


def test_child_ports_are_given_back_with_host_ports() -> None:
    book = PortBook()
    book.strike_out(book.enter(group("192.0.2.10:8080:80"), WEB, HOST))
    assert (book.host.dump(), book.child.dump()) == ({}, {})


def test_a_copy_goes_its_own_way() -> None:
    book = PortBook()
    book.copy().enter(group("192.0.2.10:8080:80"), WEB, HOST)
    assert book.host.dump() == {}


def test_a_dynamic_range_of_one_port_has_an_end() -> None:
    one = replace(HOST, dynamic_ports=PortRange.single(49200))
    with pytest.raises(NoPortFree):
        PortBook().enter(group("192.0.2.10::80"), WEB, one, tried={49200})
