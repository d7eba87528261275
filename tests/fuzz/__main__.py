"""``python -m tests.fuzz --inputs 50000``: try bad input at every door, and tell what became of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.fuzz import server

if TYPE_CHECKING:
    from tests.fuzz.judge import Tally

#: Characters shown of an input that is a finding.
SHOWN = 1_500


def main(arguments: list[str] | None = None) -> int:
    """Try, and tell.

    :returns: 1 where there is a finding
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--inputs", type=int, default=20_000, help="in all, spread over the doors (default: %(default)s)"
    )
    parser.add_argument("--door", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="the same inputs for the same seed (default: %(default)s)")
    options = parser.parse_args(arguments)
    with server.home():
        return _tried(options, parser)


def _tried(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from tests.fuzz.doors import DOORS
    from tests.fuzz.judge import run
    from tests.fuzz.sending import send_all
    from tests.fuzz.stage import stage

    names = options.door or list(DOORS)
    if strange := [name for name in names if name not in DOORS]:
        parser.error(f"there is no door {strange[0]!r}; there are {', '.join(DOORS)}")
    each = max(1, options.inputs // len(names))
    tallies: dict[str, Tally] = {}
    with server.database() as url, stage(url) as where:
        for name in names:
            begin = time.monotonic()

            def tell(tally: Tally, name: str = name, begin: float = begin) -> None:
                rate = tally.inputs / max(0.001, time.monotonic() - begin)
                line = f"{name}: {tally.inputs:,} of {each:,}, {len(tally.findings)} findings, {rate:.0f}/s"
                print(f"\r{line:<100}", end="", file=sys.stderr, flush=True)

            tallies[name] = run(DOORS[name], where, each, chance=options.seed, keep=10, tell=tell)
            tell(tallies[name])
            print("", *_findings({name: tallies[name]}), sep="\n", file=sys.stderr, flush=True)
        sent = send_all(where, {name: tally.kept for name, tally in tallies.items()})
    print(file=sys.stderr)
    print("\n".join(_table(tallies)))
    print(
        f"\nOf what was stored, {sent.messages:,} messages were sent, those of {sent.campaigns:,} campaigns too.",
        end=" ",
    )
    print(f"{sent.arrived:,} mails for {sent.recipients:,} recipients arrived.")
    for fault in sent.faults:
        print(f"  * {fault}")
    return 1 if sent.faults or any(tally.findings for tally in tallies.values()) else 0


def _table(tallies: Mapping[str, Tally]) -> Iterable[str]:
    yield "| door | inputs | stored | refused | findings |"
    yield "| --- | ---: | ---: | --- | ---: |"
    for name, tally in tallies.items():
        refused = ", ".join(f"{kind} {count:,}" for kind, count in tally.refused.most_common()) or "none"
        yield f"| {name} | {tally.inputs:,} | {tally.stored:,} | {refused} | {len(tally.findings)} |"
    inputs, stored = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("inputs", "stored"))
    refused = f"{sum(sum(tally.refused.values()) for tally in tallies.values()):,}"
    yield f"| in all | {inputs:,} | {stored:,} | {refused} | {sum(len(tally.findings) for tally in tallies.values())} |"


def _findings(tallies: Mapping[str, Tally]) -> Iterable[str]:
    for name, tally in tallies.items():
        for finding, (times, example) in tally.findings.items():
            yield f"\n{name}, {times} times: {finding}"
            try:
                shown = ascii(example)
            except Exception:  # noqa: BLE001 - some inputs cannot be written down, on purpose
                shown = f"{type(example).__name__} that cannot be written down; run its seed again"
            yield f"  {shown[:SHOWN]}"


if __name__ == "__main__":
    sys.exit(main())
