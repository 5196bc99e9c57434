"""Secrets in texts for people: user names, passwords and tokens are replaced before a text is shown or stored."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
SHORTEST_SECRET = 4
"""Characters of the shortest value that is hidden wherever it appears; a shorter one is part of ordinary words."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+", re.IGNORECASE)
_SECRET_WORDS = "passw|passwd|pwd|passphrase|token|secret|credential|api_?key|access_?key|auth|signature|odbc_connect"
_USER_WORDS = "user|username|uid|login"
_QUERY = re.compile(
    rf"([?&;#](?:[^=&;#?]*(?:{_SECRET_WORDS})[^=&;#?]*|{_USER_WORDS}|sig|key)=)([^&;\s]*)", re.IGNORECASE
)
_VARIABLE = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|CREDENTIALS?|(API|ACCESS|PRIVATE|SECRET|AUTH)_KEY)(_|$)"
)
_ADDRESS_VARIABLE = re.compile(r"(^|_)(URI|URL|DSN)$")
_NO_SECRETS = frozenset({"true", "false", "none", "null"})


def without_credentials(address: str) -> str:
    """Return an address without user name and password, in whatever part and encoding they are.

    A password may hold `/`, `?` and `@` unencoded: everything before the last `@` counts as credentials, except in the
    path of a local file.
    """
    scheme, separator, rest = _QUERY.sub(rf"\g<1>{HIDDEN}", address).partition("://")
    if not separator:
        return address  # the name of a store or a path
    if rest.startswith("/") or "@" not in rest:
        return f"{scheme}://{rest}"
    return f"{scheme}://{HIDDEN}@{rest.rpartition('@')[2]}"


def without_secrets(text: str, address: str = "") -> str:
    """Return a text without the credentials of its addresses, and without the secrets of this process's environment.

    address: another one whose password the text may hold.
    """
    shown = _ADDRESS.sub(lambda match: without_credentials(match[0]), text) if "://" in text else text
    for secret in _secrets([*os.environ.items(), ("URL", address)]):
        if secret in shown:
            shown = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, shown)
    return shown


def _secrets(variables: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the secrets in environment variables, each also encoded and decoded; the longest of a variable first."""
    for name, value in variables:
        values: list[str] = []
        if _VARIABLE.search(name) and not value.startswith("/"):  # not the path of a file with credentials
            values = [value]
        elif _ADDRESS_VARIABLE.search(name):
            values = passwords(value)
        forms = {form for value in values for form in (value, unquote(value), quote(value, safe=""), quote_plus(value))}
        for form in sorted(forms, key=len, reverse=True):
            if len(form) >= SHORTEST_SECRET and form.lower() not in _NO_SECRETS:
                yield form


def passwords(address: str) -> list[str]:
    """Return the passwords and tokens of an address, as it has them and decoded."""
    rest = address.partition("://")[2]
    secrets = [
        match[2] for match in _QUERY.finditer(rest) if not re.search(rf"[?&;#]({_USER_WORDS})=$", match[1], re.I)
    ]
    if "@" in rest and not rest.startswith("/"):
        user, _, password = _QUERY.sub(rf"\g<1>{HIDDEN}", rest).rpartition("@")[0].partition(":")
        secrets.append(password or user)  # a user name alone may be a token
    return [form for value in secrets if value for form in dict.fromkeys((value, unquote_plus(value)))]
