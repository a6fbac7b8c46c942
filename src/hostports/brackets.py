"""IPv6 addresses in brackets, as they stand before a port."""


def bracketed(ip: object) -> str:
    """An address, or its text, as it stands before a port: IPv6 in brackets (RFC 3986 3.2.2)."""
    text = str(ip)
    return f"[{text}]" if ":" in text else text
