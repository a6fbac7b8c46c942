"""The relay in a real kernel: real processes, sockets and packets, in namespaces of their own."""
