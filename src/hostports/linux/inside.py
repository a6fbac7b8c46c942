"""What is inside an endpoint's namespace, as far as its ports need it."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from hostports.errors import HostportsError
from hostports.linux.host_links import destination
from hostports.linux.listening import listening
from hostports.linux.namespaces import in_own_thread, open_namespace
from hostports.model.address import IPNetwork
from hostports.model.condition import Inside

# linux/if.h, linux/rtnetlink.h
_IFF_UP: Final = 1
_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2


def look_inside(path: str) -> Inside | None:
    """A namespace by its file; None where it is gone, or can't be entered."""
    try:
        namespace = open_namespace(path)
    except OSError:
        return None
    try:
        return in_own_thread(_look, namespace)
    except (OSError, NetlinkError, HostportsError):
        return None
    finally:
        os.close(namespace)


def _look() -> Inside:
    """An address is taken by a route of its own, which stays where its interface is set down."""
    with IPRoute(groups=0) as links:
        up = {each["index"] for each in links.get_links() if each["flags"] & _IFF_UP}
        routes = [each for each in links.get_routes() if each.get_attr("RTA_OIF") in {None, *up}]
    return Inside(
        listening(), tuple(_of_type(routes, _RTN_LOCAL)), tuple(_of_type(routes, _RTN_UNICAST))
    )


def _of_type(routes: Iterable[Any], kind: int) -> Iterator[IPNetwork]:
    return (destination(each) for each in routes if each["type"] == kind)
