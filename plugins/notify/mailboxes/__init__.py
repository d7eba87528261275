"""Mailboxes that delivery reports come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Mailbox(Protocol):
    """An open mailbox. Whatever fails is a :class:`notify.exceptions.MailboxFault`; then no mail was lost.

    A mail is known by a number that stays its own for as long as the mailbox is open.
    """

    def waiting(self, most: int) -> Sequence[int]:
        """The mails to read, the oldest first."""

    def fetch(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
        """The beginning of these mails; None for one that the server does not give. What is gone is left out."""

    def keep(self, numbers: Sequence[int]) -> None:
        """Put these away, so that they do not wait any more; they are no reports, or none of ours."""

    def finish(self, numbers: Sequence[int]) -> None:
        """Put these away: what they said is in the database."""

    def set_aside(self, numbers: Sequence[int]) -> None:
        """Mark these for a person to look at: they cannot be read."""


class Source(Protocol):
    """Where a mailbox is."""

    @property
    def name(self) -> str:
        """Of its connection."""

    def open(self) -> AbstractContextManager[Mailbox]:
        """Open it.

        :raises notify.exceptions.MailboxFault: that cannot be done; the error says what to do
        """
