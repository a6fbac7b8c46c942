"""Vector files: reading them, and which judge each kind needs."""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.conformance.driver import Hosts
from tests.conformance.judge import Judgement, judge_allocator, judge_mapping, judge_spec
from tests.conformance.kernels import namespaces, tables
from tests.conformance.reference import Json


class UnreadableVectors(Exception):
    """A file is missing, no JSON, or of no schema that we know."""


def load(path: Path) -> Json:
    """A vector file, gzipped or not. Raises `UnreadableVectors`."""
    try:
        raw = path.read_bytes()
        vectors = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise UnreadableVectors(f"{path}: can't be read: {error}") from None
    if not isinstance(vectors, dict) or not vectors.get("cases"):
        raise UnreadableVectors(f"{path}: there are no cases in it")
    return vectors


def judged(path: Path, *, real_sockets: bool = False) -> Iterator[Judgement]:
    """The judgement of every case of a file. Raises `UnreadableVectors`."""
    vectors = load(path)
    environment = vectors.get("environment", {})
    with ExitStack() as stack:
        real = real_sockets and "host_addresses_ipv4" in environment
        hosts = stack.enter_context(namespaces(environment)) if real else tables
        for case in vectors["cases"] + vectors.get("lists", []):
            yield _judged(case, environment, hosts)


def _judged(case: Json, environment: Json, hosts: Hosts) -> Judgement:
    """What kind of vector a case is shows in its fields."""
    if "steps" in case:
        return judge_mapping(case, environment, hosts)
    if "ops" in case:
        return judge_allocator(case, environment)
    if "spec" in case or "specs" in case:
        return judge_spec(case)
    raise UnreadableVectors(f"case {case.get('id')!r} is of no kind that we know")
