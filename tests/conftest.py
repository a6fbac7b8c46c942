"""What holds for all tests."""

import signal

# A run that is ended from outside cleans up as one that is interrupted: no namespace stays.
signal.signal(signal.SIGTERM, signal.default_int_handler)
# A shell lets background jobs ignore SIGINT, and so their children: tests send it to some of these.
signal.signal(signal.SIGINT, signal.default_int_handler)
