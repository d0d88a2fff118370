"""`lad watch`: cameras in, events out."""
