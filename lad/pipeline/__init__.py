"""The commands, one file each: what is to be done, what is done already, in what order."""
