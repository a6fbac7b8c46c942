"""What `doctor` makes of a host: a packet is led through everybody's rules, as the kernel would.

`nft` and `iptables` read rules into one small model, `ruleset`; `walk` leads a `packet` through its
chains; `journey` says which packets a client's connection is made of, `mend` what would let them
through, and `findings` puts it into words. What we don't know of a rule is a doubt, never a guess.
"""
