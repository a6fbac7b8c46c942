"""Which addresses the relay dials: a container's, and never the host's own services."""

from hostports.errors import RelayFailed
from hostports.model.address import unmapped
from hostports.model.port import PortBinding


def refuse_unfit(binding: PortBinding) -> None:
    """Raise `RelayFailed` for a binding that the relay may not serve.

    A client from anywhere would become a local one (CVE-2021-20199, podman issue 24045).
    """
    ip = unmapped(binding.container_ip)
    if ip.is_loopback or ip.is_unspecified or ip.is_multicast:
        raise RelayFailed(
            f"{binding} can't be relayed: {ip} is no container's address",
            "give the endpoint an address of its own",
        )
    if binding.routed:
        raise RelayFailed(f"{binding} can't be relayed: it is routed and has no host port")
