"""Where videos are extracted, when this process does not do it itself: a process for each GPU, or actors of Ray."""
