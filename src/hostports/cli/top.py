"""``hostports top``: what passes through each port, look by look."""

from datetime import UTC, datetime
from time import monotonic, sleep

from hostports.cli.output import Json
from hostports.cli.rows import Look, View, moving, table, total, viewed
from hostports.cli.session import Session
from hostports.client.sync import Client
from hostports.errors import UnusableValue


def show(do: Session) -> int:
    """Show rates: on a terminal as a live view, else as tables, or as a JSON document a line."""
    _check(do.args.iterations)
    view = View(do.args.sort, do.args.reverse, do.args.filter)
    with do.console.waiting():
        looks = Looks(Client(do.client.socket), do.args.delay)  # it would draw into a live view
    terminal = None if do.args.batch else do.console.terminal
    if terminal:
        from hostports.cli.screen import Screen  # noqa: PLC0415 - rich takes long to import

        Screen(terminal, looks, do.args.iterations).run(view)
    else:
        _print(do, looks, view)
    return 0


class Looks:
    """Looks at what is published, every `delay` seconds; each gives the rates since the former."""

    def __init__(self, client: Client, delay: float) -> None:
        self._client = client
        self._delay = delay
        self._former = self._look()

    @property
    def wait(self) -> float:
        """Seconds until it is time for the next one."""
        return max(0.0, self._former.at + self._delay - monotonic())

    def first(self) -> list[Json]:
        """What the first look has seen, with nothing to compare it with."""
        return moving(self._former, self._former)

    def next(self) -> list[Json]:
        """Look again. Raises what the client does."""
        former, self._former = self._former, self._look()
        return moving(former, self._former)

    def _look(self) -> Look:
        return Look(monotonic(), self._client.ports()["bindings"])


def _print(do: Session, looks: Looks, view: View) -> None:
    shown = 0
    while shown != do.args.iterations:
        sleep(looks.wait)
        do.console.show({"time": _now(), "ports": viewed(looks.next(), view)}, _text)
        do.console.flush()
        shown += 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(document: Json) -> str:
    return "\n".join([total(document["ports"]), *table(document["ports"]).lines(), ""])


def _check(iterations: int | None) -> None:
    if iterations is not None and iterations < 1:
        raise UnusableValue(f"--iterations {iterations}", "nothing would be shown", "write 1")
