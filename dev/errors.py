"""The one error of the local stack."""

from __future__ import annotations


class StackError(Exception):
    """The local stack cannot go on.

    :param cause: what happened, in one sentence
    :param remedy: what to do about it
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause}\n  What to do: {remedy}")
