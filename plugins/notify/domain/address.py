"""Recipients as people write them, and addresses as SMTP wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import email_validator

#: Control characters have no business in anything that becomes a header (RFC 5322, 2.2): they are how headers are
#: smuggled in.
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

#: The longest mailbox (RFC 5321, 4.5.3.1.3) and the longest display name, for a person's record has no longer one.
LONGEST_MAILBOX = 254
LONGEST_NAME = 200
_LONGEST_LOCAL = 64

#: What stands between separators, which count outside quotes and angle brackets only. Quotes are followed no further
#: than the longest name: a text full of unclosed ones would otherwise take quadratic time.
_SEPARATED = re.compile(
    rf"""((?:"(?:\\.|[^"\\]){{0,{2 * LONGEST_NAME}}}"|<[^<>]{{0,{2 * LONGEST_MAILBOX}}}>|[^;,"<\r\n]|["<])+)"""
)

#: ``Anna Nowak <anna@example.com>``, and nothing behind it. The standard library's parseaddr forgives more, and so
#: sends to somebody else: of ``anna@example.com <bob@example.com>`` it takes Anna.
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<mailbox>[^<>]*)>")
_NAMED_IN_QUOTES = re.compile(r'(?P<name>"(?:\\.|[^"\\])*")\s*<(?P<mailbox>[^<>]*)>')
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"')


#: What nearly all addresses look like, and nothing in them that a rule about addresses could change or refuse: most of
#: a mass hand-over's time would go into saying so. A test holds it to email-validator.
_PLAIN = re.compile(
    r"(?P<local>[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
_LONGEST_PLAIN = 200

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
        """What two spellings of the same mailbox have in common; ``ß`` and ``ss`` are no spellings of the same."""
        return self.mailbox.lower()

    @property
    def destination(self) -> str:
        """Where a message goes, as the outbox keeps it."""
        return self.mailbox

    @property
    def domain(self) -> str:
        """The part behind the at sign."""
        return self.mailbox.rpartition("@")[2]

    def __str__(self) -> str:
        """As a person writes it; :func:`parse_address` reads it back."""
        if not self.name:
            return self.mailbox
        name = self.name.replace("\\", r"\\").replace('"', r"\"")
        return f'"{name}" <{self.mailbox}>'


def split_names(value: str | Iterable[str]) -> list[str]:
    """Take apart a list, or a string separated by semicolons, commas or lines; quoted names stay whole.

    :param value: ``anna; "Doe, John" <john@example.com>``, or a list of such
    """
    values = [value] if isinstance(value, str) else value
    return [part for text in values for raw in _SEPARATED.findall(text) if (part := raw.strip())]


def parse_address(text: str) -> Address:
    """Check one mailbox, with or without a display name.

    :param text: ``anna@example.com`` or ``Anna Nowak <anna@example.com>``
    :raises ValueError: it is no address (RFC 5321, 4.1.2; RFC 6531 for other alphabets); the message says why
    """
    if _is_plain(text):
        return Address(text)
    if CONTROL.search(text):
        raise ValueError("a line break or control character is not allowed in an address")
    name, mailbox = _taken_apart(text.strip())
    if mailbox.endswith("@"):  # with the domain that stands in, this would be told as another fault
        raise ValueError(f"{_shown(text)} is no e-mail address: there is nothing after the at sign")
    try:
        checked = email_validator.validate_email(
            mailbox + _STAND_IN,
            check_deliverability=False,  # the door does not ask the network
        )
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"{text!r} is no e-mail address: {str(error).rstrip('.')}") from None
    domain = (checked.ascii_domain or checked.domain).removesuffix(_STAND_IN)
    return Address(f"{checked.local_part}@{domain}", name)


def _is_plain(text: str) -> bool:
    found = _PLAIN.fullmatch(text) if len(text) <= _LONGEST_PLAIN and "--" not in text else None  # xn-- has its rules
    return found is not None and found.end("local") <= _LONGEST_LOCAL


def _taken_apart(text: str) -> tuple[str, str]:
    """Display name and mailbox, neither of them checked for more than its length and its brackets."""
    named = _NAMED_IN_QUOTES.fullmatch(text) or _NAMED.fullmatch(text)
    if named is None and "<" in text:
        raise ValueError(f"{_shown(text)} is no e-mail address: write it as Anna Nowak <anna@example.com>")
    name, mailbox = (named["name"].strip(), named["mailbox"].strip()) if named else ("", text)
    if quoted := _QUOTED.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1]).strip()
    if len(mailbox) > LONGEST_MAILBOX:
        raise ValueError(f"{_shown(text)} is no e-mail address: it has more than {LONGEST_MAILBOX} characters")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name in {_shown(text)} has more than {LONGEST_NAME} characters")
    return name, mailbox


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…")
