"""How fast, how good and how reliable `lad` is: each is run as a module, `python -m benchmarks...`."""
