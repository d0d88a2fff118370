"""Values that stand in the environment and not in a file: `${MQTT_PASSWORD}`."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, SecretStr

BEFORE_HOST = re.compile(r"(?<=://)[^/?#\s]*@")
NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(text: str) -> str:
    """Text with the environment's value in place of each `${NAME}`.

    Raises:
        ValueError: a variable is not set; names it.
    """
    for name in NAME.findall(text):
        if name not in os.environ:
            raise ValueError(f"the environment has no {name}: set it")
    return NAME.sub(lambda found: os.environ[found[1]], text)


def expand_url(url: str) -> str:
    """The same for a URL: what stands for a user or a password before its host may hold any characters.

    They are percent-encoded, except for `%`: whoever encoded the value already is understood too.

    Raises:
        ValueError: a variable is not set; names it.
    """

    def quoted(user: re.Match[str]) -> str:
        return NAME.sub(lambda found: quote(expand(found[0]), safe="%"), user[0])

    return expand(BEFORE_HOST.sub(quoted, url, count=1))


def _expand_text(value: Any) -> Any:
    return expand(value) if isinstance(value, str) else value


def _expand_url(value: Any) -> Any:
    return expand_url(value) if isinstance(value, str) else value


# A value that nobody prints by accident: `get_secret_value` has it.
Secret = Annotated[SecretStr, BeforeValidator(_expand_text)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_expand_url)]
