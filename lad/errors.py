"""The kind of error that is written for the user."""

from __future__ import annotations


class LadError(Exception):
    """Something that the user can mend: the message names the thing, the reason and what to do, one line per problem.

    The command line prints it and nothing else; every error of this kind in a room is a subclass there.
    """
