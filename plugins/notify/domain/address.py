"""Recipients as people write them, and addresses as SMTP wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import parseaddr

import email_validator

#: Control characters have no business in anything that becomes a header (RFC 5322, 2.2): they are how headers are
#: smuggled in.
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

#: A separator outside quotes and angle brackets.
_SEPARATED = re.compile(r"""((?:"(?:\\.|[^"\\])*"|<[^<>]*>|[^;,"<]|["<])+)""")


#: email-validator 2.4 refuses the domains of intranets (mail.local, localhost) and has no switch for it (2026-11).
#: Below a public domain they pass, and every rule about labels still applies.
_STAND_IN = ".example.com"


@dataclass(frozen=True, slots=True)
class Address:
    """A checked mailbox.

    :param mailbox: ``local@domain``, the domain in lower-case ASCII (IDNA 2008); a non-ASCII local part needs SMTPUTF8
    :param name: display name, or empty
    """

    mailbox: str
    name: str = ""

    @property
    def key(self) -> str:
        """What two spellings of the same mailbox have in common."""
        return self.mailbox.casefold()

    @property
    def domain(self) -> str:
        """The part behind the at sign."""
        return self.mailbox.rpartition("@")[2]


def split_names(value: str | Iterable[str]) -> list[str]:
    """Take apart a list, or a string separated by semicolons or commas; quoted names stay whole.

    :param value: ``anna; "Doe, John" <john@example.com>``, or a list of such
    """
    values = [value] if isinstance(value, str) else value
    return [part for text in values for raw in _SEPARATED.findall(text) if (part := raw.strip())]


def parse_address(text: str) -> Address:
    """Check one mailbox, with or without a display name.

    :param text: ``anna@example.com`` or ``Anna Nowak <anna@example.com>``
    :raises ValueError: it is no address (RFC 5321, 4.1.2; RFC 6531 for other alphabets); the message says why
    """
    if CONTROL.search(text):
        raise ValueError("a line break or control character is not allowed in an address")
    name, mailbox = parseaddr(text) if "<" in text else ("", text)
    try:
        checked = email_validator.validate_email(
            mailbox.strip() + _STAND_IN,
            check_deliverability=False,  # the door does not ask the network
        )
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"{text!r} is no e-mail address: {str(error).rstrip('.')}") from None
    domain = (checked.ascii_domain or checked.domain).removesuffix(_STAND_IN)
    return Address(f"{checked.local_part}@{domain}", name.strip())


def without_repeats(addresses: Iterable[Address], seen: set[str]) -> Sequence[Address]:
    """Keep the first of each mailbox; ``seen`` remembers across calls (To before Cc before Bcc)."""
    kept = []
    for address in addresses:
        if address.key not in seen:
            seen.add(address.key)
            kept.append(address)
    return kept
