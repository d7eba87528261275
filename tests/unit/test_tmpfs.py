"""Where tests have their temporary folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import tmpfs


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has said where."""
    monkeypatch.setenv("TMPDIR", "")  # of what is not there, monkeypatch would remember nothing
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_there_is_room(unset: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room in memory, temporary folders are made there."""
    monkeypatch.setattr(tmpfs, "ENOUGH", 1)
    tmpfs.use(tmp_path)
    assert tempfile.gettempdir() == str(tmp_path)


@pytest.mark.parametrize("least", [2**60, 1])
def test_there_is_none(unset: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    """Where there is too little of it, or no such folder, they stay where they are."""
    monkeypatch.setattr(tmpfs, "ENOUGH", least)
    before = tempfile.gettempdir()
    tmpfs.use(tmp_path / "none" if least == 1 else tmp_path)
    assert tempfile.gettempdir() == before


def test_somebody_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ``TMPDIR`` says holds."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tmpfs, "ENOUGH", 1)
    tmpfs.use(tmp_path.parent)
    assert tempfile.gettempdir() == str(tmp_path)
