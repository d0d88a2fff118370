"""Any dataset.csv is read and kept, or refused with what is documented."""

from __future__ import annotations

import copy
import csv
import io
from pathlib import Path

from helpers.fuzzing import ODD, any_mutation, check_videos, examples, soon
from hypothesis import given
from hypothesis import strategies as st

from lad.dataset import DatasetError, read_dataset

HEADER = ["video", "path", "split", "label", "events", "n_frames", "fps", "source"]
ROWS = [
    ["a/b", "a/b.mp4", "train", "Fire, outdoor", "0-16;20-21", "40", "29.97", "cam"],
    ['ü "q"', "/far/x.mp4", "test", "", "3-", "", "25", ""],
    ["c", "x/{stream}.npy", "val", "A|B", "", "1000", "", "cam"],
]


@st.composite
def dataset_files(draw: st.DrawFn) -> bytes:
    """A valid file with cells replaced, rows cut, columns dropped, doubled and moved, and other line ends."""
    table = copy.deepcopy([HEADER, *ROWS])
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.sampled_from(table))
        what = draw(st.sampled_from(["cell", "cell", "cell", "cut", "longer", "row"]))
        if what == "cell" and row:
            row[draw(st.integers(0, len(row) - 1))] = draw(ODD)
        elif what == "cut":
            del row[draw(st.integers(0, len(row))) :]
        elif what == "longer":
            row.append(draw(ODD))
        else:
            table.append(list(row))
    columns = draw(st.just(range(8)) | st.permutations(range(8)) | st.lists(st.integers(0, 7), max_size=9))
    out = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])), quoting=quoting)
    writer.writerows([[row[c] for c in columns if c < len(row)] + row[8:] for row in table])
    text = draw(st.sampled_from(["", "\ufeff", "\n", "\0"])) + out.getvalue()
    return draw(st.just(text.encode()) | any_mutation(text.encode()))


@examples(150)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | dataset_files() | dataset_files())
def test_any_dataset_csv_is_read_and_kept_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_bytes(content)
    with soon():
        try:
            videos = read_dataset(path)
        except DatasetError as error:
            assert all(line.startswith((str(path), "...")) for line in str(error).split("\n"))
            return
        check_videos(videos, tmp_path, tmp_path)
