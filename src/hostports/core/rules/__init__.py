"""What the firewall must hold for networks, endpoints and bindings, as data, and its spelling."""
