"""``python -m tests.conformance FILE…``: run vector files through the engine."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.conformance.judge import Judgement, Verdict
from tests.conformance.vectors import UnreadableVectors, judged

#: Failing cases that are shown in full, and characters of a complaint, without --verbose.
SHOWN, LONGEST = 20, 1000


def main(arguments: list[str] | None = None) -> int:
    """Judge every case of every file; 1 if a case fails, 2 if a file can't be used."""
    options = _options(arguments)
    total: Counter[Verdict] = Counter()
    for path in options.files:
        counts: Counter[Verdict] = Counter()
        try:
            for judgement in judged(path, real_sockets=options.real_sockets):
                counts[judgement.verdict] += 1
                _show(judgement, options, total[Verdict.FAILURE] + counts[Verdict.FAILURE])
        except UnreadableVectors as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{path.name}: {_counted(counts)}")
        total += counts
    print(_counted(total))
    return 1 if total[Verdict.FAILURE] else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--real-sockets",
        action="store_true",
        help="in network namespaces made for the run, instead of a table of sockets (as root)",
    )
    parser.add_argument(
        "--differences", action="store_true", help="name each case that differs on purpose, and why"
    )
    parser.add_argument("--verbose", action="store_true", help="show all failures, in full")
    return parser.parse_args(arguments)


def _show(judgement: Judgement, options: argparse.Namespace, failures: int) -> None:
    if judgement.verdict is Verdict.ON_PURPOSE and options.differences:
        print(f"{judgement.id}: {', '.join(sorted(judgement.differences))}")
    if judgement.verdict is not Verdict.FAILURE or (failures > SHOWN and not options.verbose):
        return
    print(f"{judgement.id} FAILS; rules that hold: {', '.join(judgement.differences) or 'none'}")
    for complaint in judgement.complaints:
        print(f"    {complaint if options.verbose else complaint[:LONGEST]}")


def _counted(counts: Counter[Verdict]) -> str:
    said = ", ".join(
        f"{counts[verdict]} {verdict.value}"
        for verdict in (Verdict.REFERENCE, Verdict.ON_PURPOSE, Verdict.FAILURE)
    )
    skipped = counts[Verdict.SKIPPED]
    return f"{said}, {skipped} skipped: this kernel has no SCTP sockets" if skipped else said


if __name__ == "__main__":
    sys.exit(main())
