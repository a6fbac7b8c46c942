"""The relay: the userland proxy, one process that holds every listening socket."""
