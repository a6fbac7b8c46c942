"""``python -m hostports.relay``: the relay process."""

from importlib import import_module

from hostports.relay.compiled import use_compiled

use_compiled()
import_module("hostports.relay.process").main()
