"""Values that stand in the environment and not in a file: `${MQTT_PASSWORD}`."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

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


def _expand_text(value: Any) -> Any:
    return expand(value) if isinstance(value, str) else value


# A value that nobody prints by accident: `get_secret_value` has it.
Secret = Annotated[SecretStr, BeforeValidator(_expand_text)]
