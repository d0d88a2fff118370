"""`lad report`: what was scored, as a page that opens from the disk in any browser."""
