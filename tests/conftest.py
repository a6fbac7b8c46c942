"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# Machines may be busy with other things: what takes long is not wrong.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A run that is ended from outside cleans up as one that is interrupted: no namespace stays.
signal.signal(signal.SIGTERM, signal.default_int_handler)
# A shell lets background jobs, and so their children, ignore what a terminal sends; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
