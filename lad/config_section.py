"""What every section of the configuration has: its checks, and kinds of values that several of them use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lad.files import path_problem

IMPOSSIBLE = "impossible"  # pydantic's name for an error of values that do not go together


def possible(path: Any) -> Any:
    """A path, if it can be one."""
    if problem := path_problem(path):
        raise PydanticCustomError("path", "{problem}", {"problem": problem})
    return path


def at_home(path: Path) -> Path:
    """`~` is the home folder, as in a shell, which does not see what a file or `-o` says."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of Path raises where nobody has the name


# Numbers have upper limits far beyond what anybody needs, so that a slip of the finger gets a line, not the machine.
Place = Annotated[Path, AfterValidator(possible), AfterValidator(at_home)]
Seed = Annotated[int, Field(ge=-(2**62), le=2**62)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def problems(self) -> dict[str, str]:
        """Keys whose values do not go together, and why; files and registries are looked at elsewhere."""
        return {}

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if problems := self.problems():
            raise PydanticCustomError(IMPOSSIBLE, "impossible", {"problems": problems})
        return self
