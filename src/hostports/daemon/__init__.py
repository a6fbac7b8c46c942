"""The daemon: configuration, what it is made of, and its life."""
