"""Specs out of compose files."""

import os
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from hostports.core.compose import compose_specs
from hostports.errors import UnusableValue


class _Texts(yaml.SafeLoader):
    """Every scalar stays the text that it is: in YAML 1.1, 2222:22 is a number to the base 60."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012 - a library's attribute


def specs_of(file: str, service: str) -> list[str]:
    """The specs of a service's ports. Raises `UnusableValue`.

    Variables are the environment's, then those of a file ``.env`` beside it (docs.docker.com,
    Compose's interpolation).
    """
    document, beside = _document(file), Path(file).parent / ".env"
    return compose_specs(document, service, {**_variables(beside), **os.environ})


def _variables(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    text = _text(file)
    for each in parse_stream(StringIO(text)):
        if each.error:
            line = each.original.string.strip()
            raise UnusableValue(str(file), f"{line!r} is no variable", "write NAME=value")
    found = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in found.items() if value is not None}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        reason = f"it can't be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "it is no text in UTF-8"
    raise UnusableValue(str(file), reason, "name another file") from None


def _document(file: str) -> Any:  # noqa: ANN401 - a document has any shape
    try:
        return yaml.load(_text(Path(file)), _Texts)  # noqa: S506 - of SafeLoader's family
    except yaml.constructor.ConstructorError as error:
        mend = "give the file that `docker compose config` prints"
        raise UnusableValue(file, f"tags aren't followed: {error.problem}", mend) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UnusableValue(file, f"it is no YAML: {reason}", "mend that line") from None
