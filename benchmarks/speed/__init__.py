"""How fast it is: one module for each subject, ratios against a baseline in the same run."""
