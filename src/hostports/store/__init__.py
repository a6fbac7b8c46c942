"""The record of what is wanted, in one file of SQLite's."""
