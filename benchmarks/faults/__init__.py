"""How reliable it is: killed runs, damaged files, hours of video."""
