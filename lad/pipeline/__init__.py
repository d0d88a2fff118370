"""What is done, what is left, in what order."""
