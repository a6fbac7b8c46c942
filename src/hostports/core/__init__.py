"""Decisions: pure functions of facts; no socket, file, clock or process is touched here."""
