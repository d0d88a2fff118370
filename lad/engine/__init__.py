"""Where work on single videos is done when this process does not do it: by a process a GPU, or by actors of Ray."""
