"""URLs as people may see them: without passwords, signatures and tokens."""

from __future__ import annotations

import re
from urllib.parse import unquote

URL = re.compile(r"(?<=://)\S+")
# What stands before the host: all up to the last @ where what follows a colon is no port, since a password may have a
# slash in it, or up to the last @ before the path.
USER = re.compile(r"[^/?#@:\[\s]*:(?!\d*(?:[/?#]|$))\S*(?=@)|[^/?#\s]*(?=@)")
QUERY = re.compile(r"(?<=\?)\S+?(?=[:,;]?$)")
WORD = re.compile(r"(?i)((?:password|passwd|pass|pwd|token)=)[^&\s]+")  # some cameras have it in the path
MASK = "***"


def hide(text: str) -> str:
    """A text in which no URL shows a password, what else stands before its host, or a query: `rtsp://user:***@host`."""
    return URL.sub(_hidden, text)


def _hidden(url: re.Match[str]) -> str:
    rest, shown = url[0], ""
    if user := USER.match(rest):
        name, colon, _ = user[0].partition(":")
        rest, shown = rest[user.end() :], f"{name}:{MASK}" if colon else name
    return shown + WORD.sub(rf"\1{MASK}", QUERY.sub(MASK, rest))


def hide_of(url: str, text: str) -> str:
    """The same, where a text may have the password of a URL in another way too, as libraries' messages do."""
    rest = URL.search(url)
    user = USER.match(rest[0]) if rest else None
    password = user[0].partition(":")[2] if user else ""
    for secret in sorted({password, unquote(password)}, key=len, reverse=True):
        if len(secret) > 2:  # one that short is a part of words
            text = text.replace(secret, MASK)
    return hide(text)
