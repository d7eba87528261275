"""What stands on the command line, as the database can be asked for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from notify.exceptions import ConfigurationError

#: What the database numbers its rows with.
_LARGEST = 2**63 - 1

#: The most lines that anybody reads.
_MOST = 1_000_000


def number(given: str, largest: int = _LARGEST) -> int:
    """The number of a row.

    :raises argparse.ArgumentTypeError: it is none
    """
    if not given.isascii() or not given.isdecimal() or not 1 <= (found := int(given[:20])) <= largest:
        raise argparse.ArgumentTypeError(f"{given!r} is no number from 1 to {largest:,}")
    return found


def most(given: str) -> int:
    """How many lines to show at most.

    :raises argparse.ArgumentTypeError: it is no number, or more than anybody reads
    """
    return number(given, _MOST)


def text(given: str) -> str:
    """A text; what the terminal sends in another encoding is none.

    :raises argparse.ArgumentTypeError: it has bytes that are no UTF-8
    """
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{given!r} has bytes that are no text; the terminal must use UTF-8") from None
    return given


def text_in(path: Path) -> str:
    """What stands in a file that was named, its line ends as they are.

    :raises ConfigurationError: it cannot be read, or is no text
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Name a file that can.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error
