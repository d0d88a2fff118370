"""Features to scores: windows, training, validation, calibration, checkpoints, scoring. Knows no work directory."""
