"""Specs out of compose files."""

import os
from pathlib import Path
from typing import Any

import yaml

from hostports.core.compose import compose_specs
from hostports.errors import UnusableValue


class _Texts(yaml.SafeLoader):
    """Every scalar stays the text that it is: in YAML 1.1, 2222:22 is a number to the base 60."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012 - a library's attribute


def specs_of(file: str, service: str) -> list[str]:
    """The specs of a service's ports; variables are the environment's. Raises `UnusableValue`."""
    return compose_specs(_read(file), service, os.environ)


def _read(file: str) -> Any:  # noqa: ANN401 - a document has any shape
    try:
        return yaml.load(Path(file).read_bytes(), _Texts)  # noqa: S506 - of SafeLoader's family
    except OSError as error:
        raise UnusableValue(
            file, f"it can't be read: {error.strerror}", "name another file"
        ) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UnusableValue(file, f"it is no YAML: {reason}", "mend that line") from None
