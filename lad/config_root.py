"""The key `data.root`, which is a folder or a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from lad.config_section import at_home
from lad.files import path_problem
from lad.remote.url import Location, Url, is_url, url_of


def _location(value: Any) -> Location:
    if isinstance(value, Url):
        return value
    if not isinstance(value, str | Path):
        raise PydanticCustomError("path", "input is no path and no URL")
    if is_url(str(value)):
        try:
            return url_of(str(value))
        except ValueError as error:
            raise PydanticCustomError("url", "{problem}", {"problem": str(error)}) from error
    if problem := path_problem(value):
        raise PydanticCustomError("path", "{problem}", {"problem": problem})
    return at_home(Path(value))


Root = Annotated[Path | Url, BeforeValidator(_location), PlainSerializer(str)]
