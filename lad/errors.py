"""The kind of error that is written for the user."""

from __future__ import annotations


class LadError(Exception):
    """Something that the user can mend: the message names the thing, the reason and what to do, one line per problem.

    The command line prints it and nothing else; every error of this kind in a room is a subclass there.
    """


def reason(error: Exception) -> str:
    """What an error says to a user: of the system's, the file and why, without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
