"""RootlessKit, which forwards ports of the host to where a daemon without root's rights is."""
