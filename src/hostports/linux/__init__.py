"""The edges to Linux: each acts, translates what the kernel says, and decides nothing."""
