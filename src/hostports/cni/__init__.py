"""The CNI plugin: ports of pods, whoever wired them. Over the client, standard library only."""
