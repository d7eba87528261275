"""What the local EuroSMS server asks of a request, without HTTP: signatures, parts, numbers, senders; its orders."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.eurosms.book import Fate
from dev.eurosms.orders import Fault, Order, Orders
from dev.eurosms.rules import Flag, Recipient, Refused, arriving, read_message, recipients, require_signature, signature

KEY = "testkey"

#: Values, algorithm, what they must come to; made with another program, and written down beside the interface.
KNOWN = [
    (("MyShop", 421903622237, "Testovacia sprava"), "sha1", "a1ac49c6344a707e199b4f71467b60f03133e43c"),
    (
        ("MyShop", 421903622237, "Testovacia sprava"),
        "sha256",
        "7bdcc1e55ff50fcb6273075f73d486a96f3f42f3f58feb10fe545222f2c4e98a",
    ),
    (("MyShop", 421903622237, "Ďakujeme za objednávku"), "sha1", "9b172dbbfce077d0a3d2b75e149e6dd2577d8fbe"),
    (("MyShop", 421903622237, 421905123456, "Ahoj"), "sha1", "b235f629decd38142fac0c426327f55ef69551cd"),
    (("nightly-2026-01-10-06",), "sha1", "7c01fbdd8f160a74288a9218a5c29ffb6b4b0c16"),
    ((1234,), "sha1", "08832738b9b26d242b1d0c617206a3bddd609f17"),
]

VALUES = st.lists(st.text() | st.integers(min_value=0), min_size=1, max_size=5)


# --- Signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "algorithm", "known"), KNOWN)
def test_known_signatures(values: tuple[object, ...], algorithm: str, known: str) -> None:
    """Values are joined without a separator, numbers as digits, text as UTF-8, and signed with the key."""
    assert signature(KEY, *values, algorithm=algorithm) == known
    require_signature(KEY, known, *values)
    require_signature(KEY, known.upper(), *values)


@given(st.text(min_size=1, max_size=64), VALUES, st.sampled_from(["sha1", "sha256"]))
def test_own_signature_is_accepted(key: str, values: list[object], algorithm: str) -> None:
    """Whatever is signed, with either algorithm, in small or capital letters, is accepted."""
    signed = signature(key, *values, algorithm=algorithm)
    require_signature(key, signed, *values)
    require_signature(key, signed.upper(), *values)


@given(VALUES, VALUES, st.sampled_from(["sha1", "sha256"]))
def test_signature_of_something_else_is_refused(values: list[object], others: list[object], algorithm: str) -> None:
    """A signature of other values is not accepted, unless they join to the same."""
    signed = signature(KEY, *others, algorithm=algorithm)
    if "".join(map(str, values)) == "".join(map(str, others)):
        require_signature(KEY, signed, *values)
    else:
        with pytest.raises(Refused, match="WRONG_SIGNATURE"):
            require_signature(KEY, signed, *values)


@given(VALUES, st.data())
def test_one_changed_digit_is_refused(values: list[object], data: st.DataObject) -> None:
    """A signature with one other digit is not accepted."""
    signed = signature(KEY, *values)
    place = data.draw(st.integers(min_value=0, max_value=len(signed) - 1))
    digit = data.draw(st.sampled_from("0123456789abcdef").filter(lambda each: each != signed[place]))
    with pytest.raises(Refused, match="WRONG_SIGNATURE"):
        require_signature(KEY, signed[:place] + digit + signed[place + 1 :], *values)


@given(
    st.text(min_size=1) | st.integers(min_value=1) | st.lists(st.integers(), min_size=1) | st.text("ſ☃", min_size=40)
)
def test_no_signature_at_all_is_refused(given_: Any) -> None:
    """What is no signature is refused, whatever it is; nothing at all has a code of its own."""
    with pytest.raises(Refused, match="WRONG_SIGNATURE"):
        require_signature(KEY, given_, "text")
    with pytest.raises(Refused, match="NO_SGN"):
        require_signature(KEY, None, "text")


# --- Parts -----------------------------------------------------------------------------------------------------------

PLAIN = st.text("abcXYZ 019.,-?!äö\n", min_size=1, max_size=700)


@given(PLAIN)
def test_parts_of_plain_text(text: str) -> None:
    """160 characters of GSM are one part, then 153 go into each; it arrives as it was written."""
    assert arriving(text, Flag.LONG) == (text, 1 if len(text) <= 160 else math.ceil(len(text) / 153))


@given(PLAIN)
def test_parts_with_the_flag_for_diacritics(text: str) -> None:
    """With the flag 70 characters are one part, then 67 go into each, even where GSM would have done."""
    expected = 1 if len(text) <= 70 else math.ceil(len(text) / 67)
    assert arriving(text, Flag.LONG | Flag.DIACRITICS) == (text, expected)


@pytest.mark.parametrize(
    ("text", "flags", "shown", "parts"),
    [
        ("Ďakujeme za objednávku", Flag(0), "?akujeme za objedn?vku", 1),
        ("Ďakujeme za objednávku", Flag.DIACRITICS, "Ďakujeme za objednávku", 1),
        ("ž" * 160, Flag(0), "?" * 160, 1),
        ("ž" * 71, Flag.DIACRITICS, "ž" * 71, 2),
        ("€" * 80, Flag(0), "€" * 80, 1),
        ("€" * 81, Flag(0), "€" * 81, 2),
        ("😀" * 36, Flag.DIACRITICS, "😀" * 36, 2),
        ("😀", Flag(0), "?", 1),
    ],
)
def test_what_arrives(text: str, flags: Flag, shown: str, parts: int) -> None:
    """Without the flag, what GSM does not have arrives as a question mark; the euro sign counts two, an emoji too."""
    assert arriving(text, flags) == (shown, parts)


# --- Numbers, senders, flags -----------------------------------------------------------------------------------------


def signed(**fields: Any) -> dict[str, Any]:
    """A good message to one number, with other fields."""
    body = {"sndr": "MyShop", "rcpt": 421903622237, "txt": "Ahoj"} | fields
    rcpt = body["rcpt"]
    number = rcpt["r"] if isinstance(rcpt, dict) else rcpt
    return {"sgn": signature(KEY, body["sndr"], number, body["txt"])} | body


def read(body: dict[str, Any]) -> Any:
    return read_message(body, KEY, recipients(body, "rcpt"))


@pytest.mark.parametrize(
    "sender", ["MyShop", "My-Shop v.2", "8877", "421905123456", "Abcdefghijk", "0905123456", "99999999999"]
)
def test_senders(sender: str) -> None:
    """A sender is at most 11 letters, digits, hyphens, blanks and dots, or a full international number."""
    assert read(signed(sndr=sender)).sender == sender


@pytest.mark.parametrize(
    "sender",
    ["Zahradnictvo", "Zahradníc", "My_Shop", "421 905 123 456", "+421905123456", "0421905123456", "   ", "My\n"],
)
def test_no_senders(sender: str) -> None:
    """Any other sender is refused."""
    with pytest.raises(Refused, match="WRONG_SENDER"):
        read(signed(sndr=sender))


@pytest.mark.parametrize("number", [421903622237, 48501234567, 12025550123])
def test_numbers(number: int) -> None:
    """A number is a full international one, as an integer."""
    assert Recipient(number).is_number


@pytest.mark.parametrize(
    "number", ["421903622237", "+421903622237", 1234567, 10**15, -421903622237, True, None, 4.2e11]
)
def test_no_numbers(number: Any) -> None:
    """Neither text nor what no country has is a number."""
    assert not Recipient(number).is_number


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sndr": None}, "NO_SNDR"),
        ({"sndr": ""}, "NO_SNDR"),
        ({"rcpt": None}, "NO_RCPT"),
        ({"txt": None}, "NO_TXT"),
        ({"txt": ""}, "EMPTY_MESSAGE"),
        ({"txt": " \n "}, "EMPTY_MESSAGE"),
        ({"txt": "x" * 161}, "MSG_TOO_LONG"),
        ({"txt": "ž" * 71, "flgs": 4}, "MSG_TOO_LONG"),
        ({"txt": "x" * (255 * 153 + 1), "flgs": 2}, "MSG_TOO_LONG"),
        ({"sgn": None}, "NO_SGN"),
        ({"sgn": "0" * 40}, "WRONG_SIGNATURE"),
        ({"flgs": "1"}, "ERR_OTHER"),
        ({"flgs": -1}, "ERR_OTHER"),
        ({"flgs": 512}, "IM_NOT_ALLOWED"),
        ({"ttl": 0}, "ERR_OTHER"),
        ({"ttl": "60"}, "ERR_OTHER"),
        ({"sch": "2026-01-10 12:00"}, "WRONG_SCH"),
        ({"rcpt": {"r": 421903622237, "f": 7}}, "ERR_OTHER"),
    ],
)
def test_codes(change: dict[str, Any], code: str) -> None:
    """Each thing that is wrong with a message has its code."""
    with pytest.raises(Refused) as refused:
        read(signed(**change))
    assert refused.value.code == code


def test_good_message() -> None:
    """A message with all fields is read, its own key too."""
    message = read(signed(rcpt={"r": 421903622237, "f": "order-7"}, txt="ž" * 71, flgs=1 | 2 | 4 | 8, ttl=60))
    assert message.recipients == (Recipient(421903622237, "order-7"),)
    assert (message.parts, message.flags) == (2, Flag.RECEIPT | Flag.LONG | Flag.DIACRITICS | Flag.HIGH)


# --- Fates and orders ------------------------------------------------------------------------------------------------


def test_fate_of_parts() -> None:
    """A fate may hold for some parts only."""
    fate = Fate(("DELIVRD",), only=frozenset({1, 3}), others=("UNDELIV",))
    assert [fate.of(segment) for segment in (1, 2, 3)] == [("DELIVRD",), ("UNDELIV",), ("DELIVRD",)]
    assert Fate().of(4) == ("DELIVRD",)


def test_orders_come_in_their_order() -> None:
    """The first order that a request meets fires; how often, and after how many, it says itself."""
    first, second, third = Fault(code="A"), Fault(code="B"), Fault(code="C")
    orders = Orders()
    orders.add(Order(first, "send/m2m", times=2, skip=1))
    orders.add(Order(second, "send", times=1))
    orders.add(Order(third, "", times=None))
    kinds = ["send/m2m", "send/one", "status/any", "send/m2m", "send/m2m", "send/m2m", "balance"]
    assert [orders.next(kind) for kind in kinds] == [second, third, third, first, first, third, third]
    assert [order.fault for order in orders.waiting] == [third]


@pytest.mark.parametrize(
    ("on", "kind", "meets"),
    [
        ("", "balance", True),
        ("send", "send/one", True),
        ("send/m2m", "send/m2m", True),
        ("send", "test/one", False),
        ("send/o2m", "send/m2m", False),
        ("sen", "send/one", False),
        ("status", "status/any", True),
    ],
)
def test_what_an_order_is_for(on: str, kind: str, meets: bool) -> None:
    """An order names a kind of request, or several by their first word, or all by nothing."""
    assert Order(Fault(), on).fires(kind) is meets
