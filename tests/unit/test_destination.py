"""Where a message can go: a mailbox or a telephone number, in whatever spelling."""

from __future__ import annotations

import re

import pytest

from notify.domain.destination import digits_sought, is_number, parse_destination, sought
from notify.domain.erasure import Erased, number_pattern, pattern, traces
from notify.exceptions import ConfigurationError

SLOVAK = "+421903622237"


def slovakia() -> str:
    return "SK"


def nowhere() -> str:
    return ""


def never() -> str:
    raise AssertionError("nobody needs the country of this")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("anna@example.com", "anna@example.com"),
        ("Anna Nowak <Anna@Example.COM>", "Anna@example.com"),
        ("+421 903 622 237", SLOVAK),
        ("0903/622 237", SLOVAK),
        (" 00421 903 622 237 ", SLOVAK),
        ("\u200e+421\u00a0903\u00a0622\u00a0237", SLOVAK),
    ],
)
def test_both_forms(text: str, kept: str) -> None:
    """A mailbox and a number are told apart, and each is written as lists keep it."""
    assert parse_destination(text, slovakia) == kept
    assert is_number(kept) is (kept == SLOVAK)


@pytest.mark.parametrize(
    "text", ["", "anna", "anna@", "0903", "+999 1", "anna@example.com; +421903622237", "\0", "\ud800"]
)
def test_neither(text: str) -> None:
    """What is neither is refused by one error that says how both are written."""
    with pytest.raises(ValueError, match=re.escape("write a mailbox, such as anna@example.com, or a telephone number")):
        parse_destination(text, slovakia)


def test_the_country_is_asked_for_where_it_is_needed() -> None:
    """A mailbox and a number with its plus need no setting; without a country, a number without a plus is refused."""
    assert parse_destination("anna@example.com", never) == "anna@example.com"
    assert parse_destination(SLOVAK, never) == SLOVAK
    with pytest.raises(ValueError, match="no country is set"):
        parse_destination("0903 622 237", nowhere)


def test_a_setting_that_is_wrong_is_told_as_such() -> None:
    """A country that there is not is nobody's fault who writes a number."""

    def wrong() -> str:
        raise ConfigurationError("The Variable notify_phone_region is wrong.")

    with pytest.raises(ConfigurationError):
        parse_destination("0903 622 237", wrong)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" 421903622237", SLOVAK),  # as a plus in a link arrives
        ("0903 622 237", SLOVAK),
        ("+421 903", "+421903"),
        ("903 62", "90362"),
        ("2026-11", "2026-11"),
        ("ann", "ann"),
        ("Anna@Example.com", "Anna@Example.com"),
        ("", ""),
        ("+", "+"),
    ],
)
def test_sought(text: str, wanted: str) -> None:
    """A number is found in every spelling, a part of one without its blanks; anything else stays as it is."""
    assert sought(text, slovakia) == wanted


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (SLOVAK, "903622237"),
        ("421903622237", "903622237"),
        ("0903 622 237", "903622237"),
        ("903 62", "90362"),
        ("090", ""),
        ("anna", ""),
        ("", ""),
    ],
)
def test_digits_sought(text: str, digits: str) -> None:
    """People are found by the digits that all spellings of a number have in common."""
    assert digits_sought(text) == digits


# --- Erased ----------------------------------------------------------------------------------------------------------

#: As people, links, mails and gateways write it.
SPELLINGS = (
    "+421903622237", "421903622237", "00421903622237", "+421 903 622 237", "00421 903 622 237", "0903 622 237",
    "0903622237", "0903/622 237", "0903-622-237", "+421 (0)903 622 237", "(0903) 622 237", "+421.903.622.237",
    "%2B421903622237", "&#43;421 903 622 237", "+421\u00a0903\u00a0622\u00a0237", "+421&nbsp;903&nbsp;622&nbsp;237",
    "%2B421%20903%20622%20237",
)  # fmt: skip


@pytest.mark.parametrize("written", SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "Call {}.", "tel:{}", "<{}>", "a={}&b", "({})", "x\n{}\ny", '"{}"'])
def test_every_spelling_is_erased(written: str, around: str) -> None:
    """Nothing of a number is left in a text, whatever way it is written."""
    erased = Erased("token", (), (SLOVAK,))
    cleaned = erased.clean(around.format(written))
    assert "erased-token-0@erased.invalid" in cleaned
    assert not re.search(r"[1-9]", cleaned.replace("erased-token-0", ""))
    assert re.search(number_pattern(SLOVAK), around.format(written), re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    ["+421903622238", "1421903622237", "4219036222371", "09036222371", "10903622237", "a0903622237", "903622237",
     "0903 622 23", "2026-09-03T06:22:23.7"],
)  # fmt: skip
def test_other_numbers_stay(text: str) -> None:
    """Longer numbers, and those of others, are left as they are."""
    assert not re.search(pattern(SLOVAK), text, re.IGNORECASE)
    assert Erased("token", (), (SLOVAK,)).clean(text) == text


def test_polish_numbers_have_no_zero() -> None:
    """Where no zero is dialled within a country, the bare digits are the number."""
    erased = Erased("t", (), ("+48601234567",))
    assert erased.clean("601 234 567, 0048601234567") == "erased-t-0@erased.invalid, erased-t-0@erased.invalid"


def test_numbers_that_json_has_as_such() -> None:
    """A gateway takes a telephone number as a number; other numbers stay."""
    erased = Erased("t", ("anna",), (SLOVAK,))
    value = {"rcpt": 421903622237, "n": [7, True, None, 4.5], "anna": "0903 622 237"}
    cleaned = erased.clean_value(value)
    assert cleaned["rcpt"] == "erased-t-0@erased.invalid"
    assert cleaned["n"] == [7, True, None, 4.5]
    assert cleaned[erased.login("anna")] == "erased-t-0@erased.invalid"


def test_traces_of_a_number() -> None:
    """In base64 a number leaves a trace that is found, wherever it stands in a line."""
    import base64

    for before in ("", "x", "xx", "xxx"):
        encoded = base64.b64encode(f"{before}{SLOVAK} and more".encode()).decode()
        assert any(trace in encoded for trace in traces(SLOVAK))
