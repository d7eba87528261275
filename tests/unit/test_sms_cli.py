"""``python -m notify sms parts``: what a text takes, before anybody sends it."""

from __future__ import annotations

import io
import json
import sys

import pytest

from notify.cli import main


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says, where it succeeds."""
    assert main(["sms", "parts", *arguments]) == 0
    return capsys.readouterr().out


def test_what_gsm_has(capsys: pytest.CaptureFixture[str]) -> None:
    """Characters, alphabet and parts; of a text that GSM has all of there is nothing to transliterate."""
    lines = told(capsys, "x" * 161).splitlines()
    assert lines[0] == "Characters      161"
    assert lines[1].startswith("Alphabet        GSM")
    assert lines[2:] == ["Parts           2, with room for 145 more"]


def test_what_it_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Characters beyond GSM are named, with what would stand for them and what that saves."""
    text = told(capsys, "Ďakujeme 😀 " + "x" * 70)
    assert "Alphabet        Unicode" in text
    assert text.count("Parts           2,") == text.count("Parts           1,") == 1
    assert "Not in GSM      Ď 😀\n" in text
    assert "Replaced        Ď by D, 😀 by ?\n" in text
    assert f"Dakujeme ? {'x' * 70}\n" in text


def test_many_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """More than four are not advised; what is sent only when it is transliterated says so."""
    assert "Parts           5, with room for 103 more; more than 4 are not advised" in told(capsys, "x" * 662)
    assert told(capsys, "č" * 700).startswith("Parts           11: more than the 10 that are sent\n")


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads the text from standard input, and --json tells programs the same."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Dvě €\n".encode())))
    found = json.loads(told(capsys, "-", "--json"))
    assert found["as_it_is"] | {"text": "Dvě €", "encoding": "ucs2", "parts": 1} == found["as_it_is"]
    assert found["transliterated"]["text"] == "Dve €"
    assert found["transliterated"]["replaced"] == [{"sign": "ě", "by": "e"}]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["sms", "parts", "-"]) == 1
    assert "no UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"), [(" ", "nothing to read"), ("a\0b", "control character"), ("x" * 2000, "14 parts")]
)
def test_no_sms(capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    """What hand-over refuses is refused here, in the same words."""
    assert main(["sms", "parts", text]) == 1
    assert words in capsys.readouterr().err
