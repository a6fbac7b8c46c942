"""``python -m hostports.relay``: the relay process."""

from hostports.relay.process import main

main()
