"""Pixels to features; knows nothing of labels, training or the manifest."""
