"""Breaks delivery reports in every way, and looks what the parser makes of them.

``python -m tests.dsn_fuzzer --count 50000 --seed 1`` tells how many of which answer there were, and the slowest input.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from notify.domain import bounce
from notify.domain.bounce import Report, Sort, read_report
from notify.exceptions import UnreadableMail

SAMPLES = Path(__file__).parent / "samples" / "dsn"

#: What parsers stumble over.
NASTY = (
    b"\0", b"\r", b"\n", b"\r\n\r\n", b"\n\n\n", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"=?", b"?=", b"=?x?q?=ZZ?=",
    b"=?utf-8?b?////?=", b"=?utf-16?q?a?=", b"=?idna?q?=00?=", b"=?rot13?q?a?=", b";", b'"', b'\\"', b"*0*=", b"*1=",
    b"(" * 300, b'"' * 300, b"<" * 300, b";" * 300, b":", b" :", b"From ", b"--", b"\n--b\n", b"\n--b--\n", b"\x85",
    b"Content-Type: multipart/report; boundary=b\n\n", b"Content-Type: multipart/mixed; boundary*0*=utf-7''%FF\n",
    b"Content-Type: message/delivery-status\n\n", b"Content-Transfer-Encoding: base64\n\n",
    b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Transfer-Encoding: x-uuencode\n\nbegin 666 x\n",
    b"Content-Type: text/plain; charset=unknown-99\n", b"Status: 5.1.1.1.1\n", b"Status: \xd9\xa5.1.1\n", b"Action:\n",
    b"Final-Recipient: rfc822;\n", b"Final-Recipient: ;;;@@@\n", b"Final-Recipient: utf-8; \\x{110000}\\x{D800}@x\n",
    b"Final-Recipient: rfc822; a@xn--\xff\n", b"Message-ID: <>\n", b"Message-ID: <" + b"x" * 5000 + b">\n",
    b"Diagnostic-Code: smtp; 550 \x1b[2J\xe2\x80\xae\n", b"X-Failed-Recipients: @,@,,\n",
    b"\xef\xbb\xbf", b"\x0b\x0c\x1c",
)  # fmt: skip

Change = Callable[[random.Random, bytes, list[bytes]], bytes]


def _flip(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    broken = bytearray(raw)
    for _ in range(dice.randint(1, 30)):
        if broken:
            broken[dice.randrange(len(broken))] = dice.randrange(256)
    return bytes(broken)


def _insert(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    for _ in range(dice.randint(1, 5)):
        at = dice.randint(0, len(raw))
        raw = raw[:at] + dice.choice(NASTY) + raw[at:]
    return raw


def _lines(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    lines = raw.splitlines(keepends=True) or [b""]
    for _ in range(dice.randint(1, 8)):
        at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
        match dice.randrange(5):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = lines[at].strip()  # joins it to the next
            case _:
                lines.insert(at, dice.choice(NASTY))
    return b"".join(lines)


def _cut(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    begin, end = sorted((dice.randint(0, len(raw)), dice.randint(0, len(raw))))
    return raw[:end] if dice.random() < 0.5 else raw[:begin] + raw[end:]


def _splice(dice: random.Random, raw: bytes, samples: list[bytes]) -> bytes:
    other = dice.choice(samples)
    return raw[: dice.randint(0, len(raw))] + other[dice.randint(0, len(other)) :]


def _repeat(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    begin, end = sorted((dice.randint(0, len(raw)), dice.randint(0, len(raw))))
    return (raw[:end] + raw[begin:end] * dice.choice((2, 20, 200)) + raw[end:])[: 2 * bounce.LARGEST]


def _nest(dice: random.Random, raw: bytes, _all: list[bytes]) -> bytes:
    for _ in range(dice.choice((1, 2, 3, 50))):
        raw = b"Content-Type: multipart/mixed; boundary=n\r\n\r\n--n\r\n" + raw + b"\r\n--n--\r\n"
    return raw


CHANGES: tuple[Change, ...] = (_flip, _insert, _lines, _cut, _splice, _repeat, _nest)


def samples() -> list[bytes]:
    """All samples, with line ends of both kinds."""
    return [raw for path in sorted(SAMPLES.glob("*.eml")) for raw in _both(path.read_bytes())]


def _both(raw: bytes) -> Iterator[bytes]:
    yield raw
    yield raw.replace(b"\r\n", b"\n")


def inputs(seed: int, count: int) -> Iterator[bytes]:
    """Broken samples, always the same for the same seed."""
    dice = random.Random(seed)
    whole = samples()
    for _ in range(count):
        raw = dice.choice(whole)
        for change in dice.choices(CHANGES, k=dice.randint(1, 3)):
            raw = change(dice, raw, whole)
        yield raw


def look(raw: bytes) -> str:
    """What the parser makes of a mail, in a word.

    :raises AssertionError: something got out that must not
    """
    try:
        found = read_report(raw)
    except UnreadableMail as error:
        cause = error.__cause__
        assert not isinstance(cause, RecursionError | MemoryError | AssertionError), cause
        return f"unreadable ({type(cause).__name__ if cause else 'told'})"
    if isinstance(found, Sort):
        return found.value
    check(found)
    return "report"


def check(report: Report) -> None:
    """Whether a report is one that a database, a log and a terminal can take."""
    assert len(report.key) == 32
    assert 1 <= len(report.recipients) <= bounce.MOST_RECIPIENTS
    assert len(report.message_ids) <= bounce.MOST_IDS
    assert len({one.address for one in report.recipients}) == len(report.recipients)
    texts = [report.reporter, *report.message_ids]
    for one in report.recipients:
        texts += [one.address, one.original or "", one.status, one.words]
        assert one.code is None or 200 <= one.code < 600
        assert one.blame
    for text in texts:
        assert text.isprintable(), text
        assert len(text.encode()) <= 4 * bounce.LONGEST_VALUE
    assert all(0 < bounced.number < 2**63 for bounced in report.bounced)


def main(arguments: list[str] | None = None) -> int:
    """Break, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to put an input that something got out of")
    options = parser.parse_args(arguments)
    answers: Counter[str] = Counter()
    slowest = (0.0, 0)
    for raw in inputs(options.seed, options.count):
        begin = time.process_time()
        try:
            answers[look(raw)] += 1
        except BaseException:
            if options.keep:
                options.keep.write_bytes(raw)
            raise
        slowest = max(slowest, (time.process_time() - begin, len(raw)))
    for answer, count in answers.most_common():
        print(f"{count:>9,}  {answer}")
    print(f"{sum(answers.values()):>9,}  in all; the slowest took {slowest[0] * 1000:.0f} ms for {slowest[1]:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
