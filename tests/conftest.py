"""What holds for all tests."""

import signal

# A run that is ended from outside cleans up as one that is interrupted: no namespace stays.
signal.signal(signal.SIGTERM, signal.default_int_handler)
# A shell lets background jobs, and so their children, ignore what a terminal sends; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
