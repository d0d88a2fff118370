"""lad: raw video in, anomaly scores out (the LAD2000 system, Wan et al. 2021)."""

__version__ = "0.1.0"
