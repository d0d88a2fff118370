"""What several test files use: videos, pickles, listings, work directories. Fixtures are in `conftest.py`."""
