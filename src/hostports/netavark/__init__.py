"""The netavark plugin: a network driver of Podman, over the client, standard library only."""
