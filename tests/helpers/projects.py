"""A project as a command opens it, for tests that call the stages themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lad.config import Config
from lad.console import make_reporter
from lad.features.recipe import FeatureRecipe
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.run import open_project, ready_recipe, run_stages
from lad.work.layout import Work


class Opened(NamedTuple):
    """What every stage is given, in its order: `stage(*opened)`."""

    project: Project
    recipe: FeatureRecipe
    work: Work
    asked: Asked
    reporter: Reporter

    def run(self, *stages: str) -> list[StageResult]:
        """Run the named stages in order."""
        return run_stages(*self, stages, self.reporter.say)


@contextmanager
def opened(
    config: Config, work: Path, arguments: Sequence[str] = (), *, force: bool = False, verify: bool = False
) -> Iterator[Opened]:
    """Hold the work directory of a configuration; nothing is said on the way."""
    reporter, asked = make_reporter(quiet=True), Asked(force, verify)
    with open_project(config, work, arguments, reporter=reporter, asked=asked) as (project, held):
        yield Opened(project, ready_recipe(project, reporter), held, asked, reporter)
