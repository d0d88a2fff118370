"""What the disk remembers: the work directory's layout, its manifest, journal and lock, and half-done videos."""
