"""What many machines cost the one that deals the videos out, and what Ray costs extraction, scoring and evaluation."""
