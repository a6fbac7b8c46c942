"""Frozen values: what the deciders decide about and the edges act on."""
