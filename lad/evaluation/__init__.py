"""Scores and labels to numbers and pictures: arrays in, plain data and PNG files out."""
