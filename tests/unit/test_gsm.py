"""The alphabet of GSM 03.38, against what the standard says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.gsm import ALPHABET, DEFAULT, EXTENSION, outside, shown

#: 3GPP TS 23.038, 6.2.1: codes at which the table differs from ASCII, and the corners of where it does not.
CODES = {
    "@": 0x00, "£": 0x01, "$": 0x02, "¥": 0x03, "è": 0x04, "é": 0x05, "ù": 0x06, "ì": 0x07,
    "ò": 0x08, "Ç": 0x09, "\n": 0x0A, "Ø": 0x0B, "ø": 0x0C, "\r": 0x0D, "Å": 0x0E, "å": 0x0F,
    "Δ": 0x10, "_": 0x11, "Φ": 0x12, "Γ": 0x13, "Λ": 0x14, "Ω": 0x15, "Π": 0x16, "Ψ": 0x17,
    "Σ": 0x18, "Θ": 0x19, "Ξ": 0x1A, "\x1b": 0x1B, "Æ": 0x1C, "æ": 0x1D, "ß": 0x1E, "É": 0x1F,
    " ": 0x20, "#": 0x23, "¤": 0x24, "%": 0x25, "0": 0x30, "?": 0x3F, "¡": 0x40, "A": 0x41, "Z": 0x5A,
    "Ä": 0x5B, "Ö": 0x5C, "Ñ": 0x5D, "Ü": 0x5E, "§": 0x5F, "¿": 0x60, "a": 0x61, "z": 0x7A,
    "ä": 0x7B, "ö": 0x7C, "ñ": 0x7D, "ü": 0x7E, "à": 0x7F,
}  # fmt: skip


def test_codes() -> None:
    """A character stands at the code that the standard gives it."""
    assert {sign: DEFAULT.index(sign) for sign in CODES} == CODES


def test_codes_of_ascii() -> None:
    """Where the table is that of ASCII, a character stands at its code in ASCII."""
    for code in (*range(0x20, 0x24), *range(0x25, 0x40), *range(0x41, 0x5B), *range(0x61, 0x7B)):
        assert DEFAULT[code] == chr(code)


def test_size_of_the_tables() -> None:
    """The default alphabet has 128 different codes, one of them the escape; the extension table has ten others."""
    assert len(DEFAULT) == len(set(DEFAULT)) == 128
    assert sorted(EXTENSION) == sorted("\f^{}\\[~]|€")
    assert len(ALPHABET) == 127 + 10
    assert "\x1b" not in ALPHABET


@pytest.mark.parametrize("sign", ["`", "ç", "á", "È", "í", "ł", "\t", "“", "–", "…", "\xa0", "Α", "µ", "\x1b", "😀"])
def test_what_gsm_does_not_have(sign: str) -> None:
    """Grave accent, small ç and others that are easily taken for some of the alphabet are none."""
    assert outside(f"a{sign}b") == (sign,)


def test_outside_in_the_order_of_the_text() -> None:
    """Each character that GSM does not have is told once, in the order of the text."""
    assert outside("Žltý kôň, žltý kôň: 100 €, [ok]") == ("Ž", "ý", "ô", "ň", "ž")


@given(st.text())
def test_outside_and_alphabet_are_all(text: str) -> None:
    """A character of a text is in the alphabet, or it is told as outside of it."""
    assert set(text) - set(outside(text)) <= ALPHABET
    assert ALPHABET.isdisjoint(outside(text))


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("ł", "ł"),
        ("😀", "😀"),
        ("\u200b", "zero width space (U+200B)"),
        ("\xa0", "no-break space (U+00A0)"),
        ("\u0301", "combining acute accent (U+0301)"),
        ("\ufe0f", "variation selector-16 (U+FE0F)"),
        ("\x07", "character (U+0007)"),
    ],
)
def test_shown(sign: str, words: str) -> None:
    """A character that can be seen is shown, any other is named."""
    assert shown(sign) == words
