"""What texts look like, as regular expressions of JSON schemas (ECMA-262).

They let through whatever we take, and not much else; the last word has who reads the text.
"""

from typing import Final

from hostports.model.network import INTERFACE

_OCTET: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = rf"{_OCTET}(\.{_OCTET}){{3}}"
_IPV6: Final = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(\.[0-9.]*)?"
_PORT: Final = (
    r"0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})"
)
_PORTS: Final = rf"{_PORT}(-{_PORT})?"
_PROTOCOL: Final = r"([Tt][Cc][Pp]|[Uu][Dd][Pp]|[Ss][Cc][Tt][Pp])?"

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
#: Of a bridge; empty where one is to be chosen.
BRIDGE: Final = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,14})?$"
INTERFACES: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}[+*]*$"
PATH: Final = r"^[^\u0000]*$"
SUBNET: Final = rf"^({_IPV4}/0*([0-9]|[12][0-9]|3[0-2])|{_IPV6}/[0-9]+)$"
SOURCE: Final = rf"^({_IPV4}(/0*([0-9]|[12][0-9]|3[0-2]))?|{_IPV6}(/[0-9]+)?)$"
SPEC: Final = (
    rf"^(({_IPV4}|{_IPV6}|\[({_IPV4}|{_IPV6})?\]|{INTERFACE.pattern})?:)?(({_PORTS})?:)?{_PORTS}"
    rf"(/{_PROTOCOL})?$"
)
