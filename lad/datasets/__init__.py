"""One module per benchmark: it turns the official download into videos with splits, labels and events."""

from __future__ import annotations

from lad.datasets import avenue, eaf, fiftyone, folder, lad2000, shanghaitech, ucf_crime, ucsd, xd_violence
from lad.datasets.common import Benchmark, Listing, Options

__all__ = ["BENCHMARKS", "Benchmark", "Listing", "Options"]

NORMAL_ABNORMAL = ("normal", "abnormal")

BENCHMARKS: dict[str, Benchmark] = {
    "lad2000": Benchmark(lad2000.read_lad2000, lad2000.CLASSES),
    "ucf_crime": Benchmark(ucf_crime.read_ucf_crime, ucf_crime.CLASSES),
    "shanghaitech": Benchmark(shanghaitech.read_shanghaitech, NORMAL_ABNORMAL),
    "avenue": Benchmark(avenue.read_avenue, NORMAL_ABNORMAL, random_split=True, one_class=True),
    "ped1": Benchmark(ucsd.read_ped1, NORMAL_ABNORMAL, random_split=True, one_class=True),
    "ped2": Benchmark(ucsd.read_ped2, NORMAL_ABNORMAL, random_split=True, one_class=True),
    "xd_violence": Benchmark(xd_violence.read_xd_violence, xd_violence.CLASSES),
    "eaf": Benchmark(eaf.read_eaf, ()),
    "fiftyone": Benchmark(fiftyone.read_fiftyone, ()),
    "folder": Benchmark(folder.read_folder, (), random_split=True),
}
