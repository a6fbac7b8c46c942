"""What was sent, from bytes to requests; whatever doesn't fit is refused in one line.

msgspec says what it expected and where; here it becomes our words, and the field's description the
mend.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NoReturn, TypeVar, get_args

import msgspec

from hostports.api.schema import Request
from hostports.errors import UnusableValue, quoted

Asked = TypeVar("Asked", bound=Request)

#: How msgspec names JSON's types, and what people call them.
_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_MESSAGE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?", re.DOTALL)
_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_ENUM: Final = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_SEE: Final = "see GET /v1/openapi.json"
#: How query parameters spell what JSON has words for.
_FLAGS: Final = {"true": True, "false": False}


def decoded(body: bytes, of: type[Asked]) -> Asked:
    """The request that a JSON body is. Raises `UnusableValue`."""
    if not body.strip():
        raise UnusableValue("request body", "it is empty", "send a JSON object")
    try:
        asked = msgspec.json.decode(body, type=of)
    except msgspec.ValidationError as error:
        _refuse(str(error), of)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise UnusableValue(
            "request body", f"it is no JSON: {_first_lower(reason)}", "send one object in UTF-8"
        ) from None
    json.loads(body, object_pairs_hook=_refuse_twice, parse_int=str)
    return asked


def from_query(query: Iterable[tuple[str, str]], of: type[Asked]) -> Asked:
    """The request that query parameters are. Raises `UnusableValue`."""
    pairs = [(key, _FLAGS.get(value, value)) for key, value in query]
    try:
        return msgspec.convert(_refuse_twice(pairs), of)
    except msgspec.ValidationError as error:
        _refuse(str(error), of)


def described(of: type[Request]) -> Mapping[str, str]:
    """What to write into each field."""
    return {each.encode_name: _description(each.type) for each in msgspec.structs.fields(of)}


def _description(annotation: object) -> str:
    return next((each.description for each in get_args(annotation) if _describes(each)), "")


def _describes(metadata: object) -> bool:
    return isinstance(metadata, msgspec.Meta) and metadata.description is not None


def _refuse_twice(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Parsers differ in which one they take; so whoever checked a request may have seen another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise UnusableValue(twice, "it is there more than once", "write it once")
    return found


def _refuse(message: str, of: type[Request]) -> NoReturn:
    what, where = _parted(message)
    if field := _FIELD.fullmatch(what):
        kind, name = field.groups()
        if kind == "missing required":
            raise UnusableValue(name, "the field is missing", f"write {described(of)[name]}")
        raise UnusableValue(name, "there is no such field", _known(msgspec.structs.fields(of)))
    if not where:
        raise UnusableValue("request body", _spoken(what), "send a JSON object")
    mend = described(of).get(where.partition("[")[0])
    raise UnusableValue(where, _spoken(what), f"write {mend}" if mend else _SEE)


def _parted(message: str) -> tuple[str, str]:
    found = _MESSAGE.fullmatch(message)
    return (found["what"], found["where"] or "") if found else (message, "")


def _known(fields: Iterable[msgspec.structs.FieldInfo]) -> str:
    names = [each.encode_name for each in fields]
    return f"use only {', '.join(names)}" if names else "leave it out"


def _spoken(what: str) -> str:
    if value := _ENUM.fullmatch(what):
        return f"it can't be {quoted(value[1])}"
    return _first_lower(re.sub(r"`([^`]*)`", lambda found: _called(found[1]), what))


def _called(types: str) -> str:
    return " or ".join(_WORDS.get(each, each) for each in types.split(" | "))


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
