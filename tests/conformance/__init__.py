"""The engine against recordings of moby 28.5.2, and against a model of it where we differ."""
