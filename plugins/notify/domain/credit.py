"""What is left on a sender's account, where its gateway takes money for each message and tells how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left.

    :param words: as the gateway says it, with the currency
    :param amount: the number in them
    :param warning: below it somebody should be warned; None: only where nothing is left
    """

    words: str
    amount: Decimal
    warning: Decimal | None = None

    @property
    def low(self) -> bool:
        """Whether somebody should see to it."""
        return self.amount <= 0 or (self.warning is not None and self.amount < self.warning)
