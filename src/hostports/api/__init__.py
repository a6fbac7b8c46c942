"""The HTTP API: routes, wire schema, and which status an error has."""
