"""The API's calls, once for both clients: each says what to send and leaves the sending to them."""

import os
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from hostports.client.http import Json, quote

DEFAULT_SOCKET: Final = "/run/hostports/api.sock"
#: In the state directory of a RootlessKit, inside which the daemon has its socket there.
_ROOTLESS_SOCKET: Final = "hostports/api.sock"

#: What a call gives: a JSON object, or something to await that gives one.
Answered = TypeVar("Answered")


def socket_path(given: str | os.PathLike[str] | None) -> str:
    """Where the daemon listens: as given, else as $HOSTPORTS_SOCKET says, else where it does."""
    kit = os.environ.get("ROOTLESSKIT_STATE_DIR")
    usual = f"{kit}/{_ROOTLESS_SOCKET}" if kit else DEFAULT_SOCKET
    return os.fspath(given or os.environ.get("HOSTPORTS_SOCKET") or usual)


class Calls(Generic[Answered]):
    """Every call of the API to the daemon at `socket`.

    Answers are JSON objects as the API documents them; one without content is empty. Raises
    `ApiError` if the daemon refuses, `DaemonUnreachable`, `NotPermitted` or `BadAnswer`.
    """

    def __init__(self, socket: str | os.PathLike[str] | None = None) -> None:
        self.socket = socket_path(socket)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.socket!r})"

    def _ask(self, method: str, path: str, body: Json | None = None) -> Answered:
        raise NotImplementedError

    def networks(self) -> Answered:
        """All networks: ``{"networks": [...]}``."""
        return self._ask("GET", "/v1/networks")

    def network(self, name: str) -> Answered:
        """One network."""
        return self._ask("GET", f"/v1/networks/{quote(name)}")

    def create_network(self, name: str, **options: object) -> Answered:
        """Create a network; `options` are keys of the network, those left out being chosen."""
        return self._ask("POST", "/v1/networks", {"name": name, **options})

    def remove_network(self, name: str, *, force: bool = False) -> Answered:
        """Remove a network; with `force` its endpoints, too."""
        return self._ask("DELETE", f"/v1/networks/{quote(name)}{'?force=true' if force else ''}")

    def endpoints(self, network: str | None = None) -> Answered:
        """All endpoints, or those of one network: ``{"endpoints": [...]}``."""
        where = "" if network is None else f"/networks/{quote(network)}"
        return self._ask("GET", f"/v1{where}/endpoints")

    def endpoint(self, name: str) -> Answered:
        """One endpoint."""
        return self._ask("GET", f"/v1/endpoints/{quote(name)}")

    def add_endpoint(self, network: str, name: str, **options: object) -> Answered:
        """Add an endpoint; `options` has exactly one of `netns`, `pid` and `addresses`."""
        path = f"/v1/networks/{quote(network)}/endpoints"
        return self._ask("POST", path, {"name": name, **options})

    def remove_endpoint(self, name: str) -> Answered:
        """Unpublish an endpoint's ports and remove it."""
        return self._ask("DELETE", f"/v1/endpoints/{quote(name)}")

    def publish(  # noqa: PLR0913 - all that the API takes
        self,
        endpoint: str,
        specs: Sequence[str],
        mode: str = "nat",
        allow_from: Sequence[str] = (),
        proxy_protocol: str | None = None,
        *,
        wait_address: float = 0,
    ) -> Answered:
        """Publish ports, all of `specs` or none: ``{"bindings": [...], "warnings": [...]}``.

        A host address that isn't there yet is waited for, for so many seconds.
        """
        body = _wanted(specs, mode, allow_from, proxy_protocol)
        if wait_address:
            body["wait_address"] = wait_address
        return self._ask("POST", f"/v1/endpoints/{quote(endpoint)}/ports", body)

    def plan(
        self,
        endpoint: str,
        specs: Sequence[str],
        mode: str = "nat",
        allow_from: Sequence[str] = (),
        proxy_protocol: str | None = None,
    ) -> Answered:
        """What `publish` would do: its bindings and warnings, and ``sockets`` and ``rules``."""
        body = _wanted(specs, mode, allow_from, proxy_protocol)
        return self._ask("POST", "/v1/plan", {"endpoint": endpoint, **body})

    def unpublish(
        self, endpoint: str, specs: Sequence[str] | None = None, *, kill: bool = False
    ) -> Answered:
        """Unpublish what `specs` mean, or everything (None); ``{"bindings": [...]}`` that were.

        With `kill` established TCP connections end, too.
        """
        body: Json = {"all": True} if specs is None else {"specs": _texts(specs)}
        if kill:
            body["kill"] = True
        return self._ask("DELETE", f"/v1/endpoints/{quote(endpoint)}/ports", body)

    def ports(self, endpoint: str | None = None) -> Answered:
        """What is published, of all endpoints or one: ``{"bindings": [...]}``."""
        where = "" if endpoint is None else f"/endpoints/{quote(endpoint)}"
        return self._ask("GET", f"/v1{where}/ports")

    def reload(self) -> Answered:
        """Make the firewall anew now, and missing bridges and cables."""
        return self._ask("POST", "/v1/reload")

    def doctor(self) -> Answered:
        """What keeps published ports from being reached: ``{"findings": [...]}``."""
        return self._ask("GET", "/v1/doctor")

    def end_pages(self) -> Answered:
        """Take all web pages off."""
        return self._ask("DELETE", "/v1/ui")

    def health(self) -> Answered:
        """That the daemon is well, and its version."""
        return self._ask("GET", "/v1/health")


def _wanted(
    specs: Sequence[str], mode: str, allow_from: Sequence[str], proxy_protocol: str | None
) -> Json:
    return {
        "specs": _texts(specs),
        "mode": mode,
        "allow_from": list(allow_from),
        "proxy_protocol": proxy_protocol,
    }


def _texts(specs: Sequence[str]) -> list[str]:
    """A lone text is one spec, not one for each of its characters."""
    return [specs] if isinstance(specs, str) else list(specs)
