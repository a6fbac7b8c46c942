"""The daemon's log: on standard error, as text or a JSON object a line."""

import logging
import time

from pythonjsonlogger.json import JsonFormatter

from hostports.daemon.config import LogFormat

_TEXT = "%(asctime)s %(levelname)s %(message)s"


def set_up(chosen: LogFormat) -> None:
    """Write what all loggers of the process say, from INFO on, in UTC."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(chosen))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # It would write a traceback for whatever is no HTTP, which any client may send.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def _formatter(chosen: LogFormat) -> logging.Formatter:
    if chosen is LogFormat.JSON:
        return JsonFormatter(
            "{levelname}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level"},
        )
    text = logging.Formatter(_TEXT, "%Y-%m-%dT%H:%M:%SZ")
    text.converter = time.gmtime
    return text
