"""The ruleset in iptables' words, for hosts without nft: the same effects by rules in chains."""
