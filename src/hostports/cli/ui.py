"""``hostports ui``: a web page, for as long as the command runs."""

from hostports.cli.output import Json, Line
from hostports.cli.parser import UsageError
from hostports.cli.session import Session
from hostports.errors import UnusableValue


def serve(do: Session) -> int:
    """Have a page served until Ctrl-C or --off; or take all pages off."""
    if do.args.off:
        if do.args.port is not None:
            raise UsageError("--off takes off all pages, whatever their port", "leave --port out")
        return do.console.show(do.client.end_pages(), lambda _: [Line("no page is served now")])
    try:
        _serve(do, _port(do.args.port))
    except KeyboardInterrupt:  # the way to end it
        return 0
    do.console.tell("the page was taken off")
    return 0


def _serve(do: Session, port: int) -> None:
    with do.client.page(port) as told:
        for page in told:
            do.console.show(page, _line)
            do.console.flush()
            do.console.tell("served until Ctrl-C; whoever has the URL sees all published ports")


def _line(page: Json) -> list[Line]:
    return [Line(page["url"])]


def _port(given: int | None) -> int:
    port = given or 0
    if not 0 <= port <= 65535:
        raise UnusableValue(str(port), "it is no port", "write one from 1 to 65535")
    return port
