"""A cluster of two nodes, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import two_nodes


@pytest.fixture(scope="module")
def nodes_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the nodes look for weights; it is empty, and not the driver's."""
    return tmp_path_factory.mktemp("nodes_cache")


@pytest.fixture(scope="module")
def cluster(nodes_cache: Path) -> Iterator[Any]:
    with two_nodes(nodes_cache) as made:
        yield made
