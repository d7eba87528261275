"""Recipients as people write them, and addresses as SMTP wants them."""

from __future__ import annotations

import contextlib
from time import process_time

import email_validator
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.domain import address
from notify.domain.address import (
    CONTROL,
    LONGEST_NAME,
    Address,
    parse_address,
    split_names,
)

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40).map(str.strip)
#: What people paste: any characters, and those that mean something in an address.
PASTED = st.text(max_size=40) | st.text('ab@<>",;:\\()[]. \té\r\n', max_size=60)


@settings(max_examples=500)
@given(PASTED)
@example("(" * 5000 + "<a@b.example>")
@example('"' * 4999 + "<a@b.example>")
@example("a@" + "b." * 5000 + "c")
@example("\ud800@b.example")
@example("a@xn--a.example")
def test_address_or_valueerror(text: str) -> None:
    """Any text is an address, or a ValueError; an accepted one has one at sign's worth of ASCII domain."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.domain.isascii()
    assert address.mailbox.removesuffix("@" + address.domain)
    assert not CONTROL.search(address.mailbox + address.name)
    assert not set(address.mailbox) & set(' <>,;"()')


@given(NAMES)
def test_name_is_read_back(name: str) -> None:
    """An address with any display name, written out, is read back as itself."""
    address = Address("anna@example.com", name)
    assert parse_address(str(address)) == address


@given(PASTED)
def test_accepted_address_is_read_back(text: str) -> None:
    """What was accepted once is accepted again, as the same address."""
    with contextlib.suppress(ValueError):
        address = parse_address(text)
        assert parse_address(str(address)) == address


@given(NAMES)
def test_written_address_survives_a_list(name: str) -> None:
    """A written address stays whole in a list, separators and quotes in its name notwithstanding."""
    written = str(Address("anna@example.com", name))
    assert split_names(f"bob; {written} , carl") == ["bob", written, "carl"]


@settings(max_examples=300)
@given(PASTED | st.lists(PASTED, max_size=4))
def test_split_never_fails_and_keeps_all(value: str | list[str]) -> None:
    """Splitting never fails, yields no blank, and drops nothing but separators and blanks."""
    names = split_names(value)
    assert all(name == name.strip() and name for name in names)
    whole = value if isinstance(value, str) else "".join(value)
    drop = str.maketrans("", "", ";,")
    kept, given_ = ("".join(text.translate(drop).split()) for text in ("".join(names), whole))
    assert kept == given_


@pytest.mark.parametrize("unit", ['"\\', '"', "<", '<"', '"a', "\\"])
def test_split_of_unclosed_quotes(unit: str) -> None:
    """A long text of unclosed quotes is split without loss, in time that grows as the text does, not as its square."""

    def seconds(count: int) -> float:
        start = process_time()
        assert split_names(unit * count) == [unit * count]
        return process_time() - start

    assert seconds(32_000) < 0.05 + 12 * seconds(4_000)  # the square would be 64 times


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", []),
        (" ; , ;", []),
        ("anna", ["anna"]),
        ("anna; bob,carl", ["anna", "bob", "carl"]),
        ('anna; "Doe, John" <john@example.com>', ["anna", '"Doe, John" <john@example.com>']),
        (["anna, bob", "carl"], ["anna", "bob", "carl"]),
        ('"Do\\"e; J" <j@e.example>, x', ['"Do\\"e; J" <j@e.example>', "x"]),
        ("it's; me", ["it's", "me"]),
        ("anna\r\nbob\n", ["anna", "bob"]),
    ],
)
def test_split(value: str | list[str], names: list[str]) -> None:
    """Semicolons, commas and line ends separate, quoted names stay whole, a list is split item by item."""
    assert split_names(value) == names


@pytest.mark.parametrize(
    ("text", "mailbox", "name"),
    [
        ("anna@example.com", "anna@example.com", ""),
        (" Anna@EXAMPLE.com ", "Anna@example.com", ""),
        ("Anna Nowak <anna@example.com>", "anna@example.com", "Anna Nowak"),
        ('"Nowak, Anna" <anna@example.com>', "anna@example.com", "Nowak, Anna"),
        ('"A <b> \\"c\\"" <anna@example.com>', "anna@example.com", 'A <b> "c"'),
        ("Žofia Łącka <zofia@example.com>", "zofia@example.com", "Žofia Łącka"),
        ("anna@bücher.example", "anna@xn--bcher-kva.example", ""),
        ("łukasz@example.com", "łukasz@example.com", ""),
        ("root@localhost", "root@localhost", ""),
        ("anna@mail.local", "anna@mail.local", ""),
        ("o'neil+tag@example.com", "o'neil+tag@example.com", ""),
        ("anna@example.com <bob@example.com>", "bob@example.com", "anna@example.com"),
        ("<anna@example.com>", "anna@example.com", ""),
    ],
)
def test_read(text: str, mailbox: str, name: str) -> None:
    """Mailboxes with and without names, of other alphabets and of intranets, are read as their writer meant them."""
    assert parse_address(text) == Address(mailbox, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "@example.com",
        "anna@",
        "anna@example..com",
        "anna@-example.com",
        "an na@example.com",
        "anna@example.com\r\nBcc: eve@example.com",
        "Anna\n<anna@example.com>",
        "Anna\u2028Bcc: x <anna@example.com>",
        "Anna <anna@example.com> and more",
        "Anna <anna@example.com",
        "Anna <anna@example.com>, Bob <bob@example.com>",
        "<<anna@example.com>>",
        "anna@example.com>",
        "anna@exa_mple.com",
        f"{'x' * 300}@example.com",
        f"{'x' * (LONGEST_NAME + 1)} <anna@example.com>",
    ],
)
def test_refused(text: str) -> None:
    """What is no single address is refused, and never read as somebody else's."""
    with pytest.raises(ValueError, match=r"address|name"):
        parse_address(text)


@pytest.mark.parametrize("text", ["anna@", "Anna <anna@>"])
def test_half_an_address(text: str) -> None:
    """Where the domain is missing, the error says so."""
    with pytest.raises(ValueError, match="there is nothing after the at sign"):
        parse_address(text)


_ODDLY_PLAIN = st.from_regex(address._PLAIN, fullmatch=True) | st.sampled_from(
    [
        f"{'x' * 64}@example.com",
        f"{'x' * 65}@example.com",
        f"a@{'b' * 63}.com",
        f"a@{'.'.join('b' * 60 for _ in range(3))}.com",
        "a@xn--mnchen-3ya.de",
        "a@ab--cd.com",
        "a@localhost.localdomain",
        "a@1.com",
        "+@a.bc",
    ]
)


@given(_ODDLY_PLAIN)
def test_plain_addresses_are_plain(text: str) -> None:
    """What is taken without asking email-validator, it would have taken as it stands."""
    if address._is_plain(text):
        checked = email_validator.validate_email(text + address._STAND_IN, check_deliverability=False)
        assert f"{checked.local_part}@{checked.ascii_domain.removesuffix(address._STAND_IN)}" == text
        assert parse_address(text) == Address(text)


def test_most_addresses_are_plain() -> None:
    """The short way is taken by usual addresses, and by no others."""
    assert all(map(address._is_plain, ["anna@example.com", "anna.nowak+x@mail.example.co.uk", "a_b-c@x1.io"]))
    for text in ("Anna <anna@example.com>", "anna@EXAMPLE.com", "żuk@example.com", "a@b", f"{'x' * 65}@example.com"):
        assert not address._is_plain(text)
