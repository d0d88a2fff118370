"""Networks and their weights: pure torch, no files but weights."""
