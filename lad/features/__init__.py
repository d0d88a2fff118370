"""Which features a video has: what they depend on, where they lie, which frames they tell of."""
