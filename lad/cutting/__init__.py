"""Pieces of videos as videos of their own, exact to the frame."""
