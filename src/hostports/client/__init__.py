"""The API's client, over the daemon's Unix socket with the standard library alone; starts fast."""
