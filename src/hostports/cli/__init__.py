"""The command ``hostports``: parses, asks the daemon through the client, and shows what it says."""
