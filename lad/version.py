"""The version of lad, by itself: the rooms below the library name it in what they write."""

VERSION = "0.1.0"
