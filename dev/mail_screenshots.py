"""Take the pictures of mails that the README and the docs show: ``python -m dev.mail_screenshots``.

``python -m dev.mail_screenshots FOLDER`` takes pictures of every sample instead, on a phone and on a desk, in light and
in dark, in every language: to look at after a change of the templates.

Needs Chromium on the PATH (``chromium``, ``chromium-browser`` or ``google-chrome``).
"""

from __future__ import annotations

import base64
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from notify.domain.digest import Entry, arrange  # noqa: E402 - the path above is where it lies
from notify.rendering.library import TemplateLibrary  # noqa: E402 - same

IMAGES = ROOT / "docs" / "images"
PHONE, DESK = 390, 700
LANGUAGES = ("en", "pl", "sk")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SCHEME = {
    "light": "--blink-settings=preferredColorScheme=1",
    "dark": "--blink-settings=preferredColorScheme=0",
}

#: Headless Chromium lays out nothing narrower than about 500 px; a frame is as narrow as it is told.
_FRAMED = """<!DOCTYPE html><html style="color-scheme: light dark">
<body style="margin: 0">
<iframe style="border: 0" width="{width}" height="{height}" src="data:text/html;base64,{page}"></iframe>
</body></html>"""

_SIDE_BY_SIDE = """<!DOCTYPE html><html>
<body style="margin: 0; padding: 36px 0; background: #dfe4ec; text-align: center">
<img src="{light}" style="{style}"><img src="{dark}" style="{style}"></body></html>"""
_PICTURE = "width: 390px; margin: 0 20px; border-radius: 22px; box-shadow: 0 12px 34px rgba(15, 23, 42, .22)"

MESSAGE = """\
Dear Anna,

invoice INV-2041 from Nordwind Logistics has been waiting for your approval since Monday. \
The amount is 4,820.00 EUR, due on Friday, 20 March.

Please approve it, or send it back with a comment. The order and the delivery note are attached to the case.

Kind regards,
Accounts payable"""

HOUSE = {
    "site_name": "Halden Trading",
}
MORNING = datetime(2026, 3, 18, 7, tzinfo=UTC)

INVOICE = {
    "id": "INV-2041",
    "title": "Invoice from Nordwind Logistics",
    "url": "https://cases.example.com/INV-2041",
    "process": "Purchase invoices",
    "stage": "Approval",
    "owner": {"login": "anna", "name": "Anna Nowak"},
}
CONTRACT = {**INVOICE, "id": "CON-118", "title": "Framework contract with Bergmann & Söhne", "process": "Contracts"}
LEAVE = {**INVOICE, "id": "HR-77", "title": "Leave request of Tomasz Wójcik", "process": "Leave"}

EVENT = {
    **HOUSE,
    "case": INVOICE,
    "actor": {"login": "peter", "name": "Peter Novák"},
    "occurred_at": MORNING,
    "recipient": {"login": "anna", "name": "Anna Nowak", "address": "anna@example.com"},
    "due_at": MORNING + timedelta(days=2, hours=7),
}


class Happening(NamedTuple):
    """Something that happened to a case.

    :param minutes: after the morning
    :param name: of who did it
    :param own: the event's own data; the case was received, or it changed where there are ``changes``
    """

    minutes: int
    case: dict[str, Any]
    name: str
    own: dict[str, Any]


def _change(what: str, **more: str) -> dict[str, Any]:
    return {"changes": [{"what": what, **more}]}


DAY = [
    Happening(5, INVOICE, "Peter Novák", {"comment": "Please approve by Friday."}),
    Happening(42, INVOICE, "Peter Novák", _change("document_version", name="delivery-note.pdf")),
    Happening(80, CONTRACT, "Maria Lindqvist", _change("document_added", name="contract.docx")),
    Happening(200, CONTRACT, "Tomasz Wójcik", _change("comment_added", text="§ 7 needs a cap on liability.")),
    Happening(330, LEAVE, "Tomasz Wójcik", {}),
    Happening(395, INVOICE, "Maria Lindqvist", _change("comment_added", text="Line 4 has the right price now.")),
]

#: Pictures that the docs show: a sample, and how high the phone is.
SHOWN = {"mail": ("send_message", 760), "digest": ("digest", 1150)}


def samples(library: TemplateLibrary, language: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Mails to take pictures of: a name, the kind and its data.

    :param library: says what happened, for the digest
    :param language: of the reader
    """
    message = {
        **HOUSE,
        "subject": "An invoice is waiting for your approval",
        "message": MESSAGE,
        "html": False,
        "case": {"id": "INV-2041", "url": "https://cases.example.com/INV-2041"},
    }
    changes = [
        {"what": "comment_added", "text": "Please look at page 2.\n\nThe amount differs from the order."},
        {"what": "document_version", "name": "delivery-note.pdf"},
    ]
    entries = [_entry(library, language, one) for one in DAY]
    busy = [Happening(n * 9, _numbered(n % 40), "Maria Lindqvist", {}) for n in range(500)]
    return {
        "send_message": ("send_message", message),
        "case_received": ("case_received", {**EVENT, "comment": "Please approve by Friday."}),
        "case_changed": ("case_changed", {**EVENT, "changes": changes}),
        "case_closed": ("case_changed", {**EVENT, "changes": [{"what": "closed"}]}),
        "deadline_approaching": ("deadline_approaching", EVENT),
        "deadline_exceeded": ("deadline_exceeded", EVENT),
        "deadline_escalated": ("deadline_escalated", {**EVENT, "escalation": 2}),
        "reminder": ("reminder", {**EVENT, "note": "Call Nordwind about the second invoice."}),
        "digest": ("digest", {**EVENT, "digest": arrange(entries)}),
        "digest_of_500": ("digest", {**EVENT, "digest": arrange(_entry(library, language, one) for one in busy)}),
    }


def _numbered(number: int) -> dict[str, Any]:
    return {**INVOICE, "id": f"INV-{2100 + number}", "title": f"Invoice {2100 + number} from Nordwind Logistics"}


def _entry(library: TemplateLibrary, language: str, one: Happening) -> Entry:
    kind = "case_changed" if "changes" in one.own else "case_received"
    data = {**EVENT, "case": one.case, "actor": {"login": "", "name": one.name}, **one.own}
    return Entry(
        kind=kind,
        occurred_at=MORNING + timedelta(minutes=one.minutes),
        summary=library.summary(kind, language=language, timezone="UTC", data=data),
        subject="",
        case_id=one.case["id"],
        case_title=one.case["title"],
        case_url=one.case["url"],
        process=one.case["process"],
    )


def shoot(page: str, target: Path, size: tuple[int, int], scheme: str) -> None:
    """Take a picture of a page.

    :param page: HTML
    :param target: the PNG to write
    :param size: width and height in pixels
    :param scheme: ``light`` or ``dark``, what the page sees as ``prefers-color-scheme``
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("Chromium is missing: install it to take the pictures.")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        own = (
            f"--user-data-dir={folder}/profile",
            f"--screenshot={target}",
            f"--window-size={size[0]},{size[1]}",
        )
        subprocess.run(
            [browser, *_FLAGS, _SCHEME[scheme], *own, source.as_uri()],
            check=True,
            capture_output=True,
            timeout=60,
        )


def framed(page: str, size: tuple[int, int]) -> str:
    """Put a page into a frame as narrow as a phone.

    :param page: HTML
    :param size: width and height in pixels
    """
    return _FRAMED.format(page=base64.b64encode(page.encode()).decode(), width=size[0], height=size[1])


def side_by_side(page: str, target: Path, height: int) -> None:
    """Picture a page on a phone, in light and in dark beside each other.

    :param page: HTML
    :param target: the PNG to write
    :param height: of the phone, in pixels
    """
    size = (PHONE, height)
    with tempfile.TemporaryDirectory() as folder:
        phones = {scheme: Path(folder) / f"{scheme}.png" for scheme in _SCHEME}
        for scheme, picture in phones.items():
            shoot(framed(page, size), picture, size, scheme)
        both = _SIDE_BY_SIDE.format(style=_PICTURE, **{scheme: picture.as_uri() for scheme, picture in phones.items()})
        shoot(both, target, (2 * PHONE + 120, height + 76), "light")


def shoot_all(library: TemplateLibrary, folder: Path) -> Iterator[Path]:
    """Picture every sample in every way a reader may see it.

    :param folder: where the pictures go
    """
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        for name, (kind, data) in samples(library, language).items():
            page = library.render(kind, language=language, timezone="UTC", data=data).html or ""
            for width, scheme in itertools.product((PHONE, DESK), _SCHEME):
                size = (width, 1600 if kind == "digest" else 900)
                target = folder / f"{name}-{language}-{width}-{scheme}.png"
                shoot(framed(page, size), target, size, scheme)
                yield target


def main() -> None:
    """Take the pictures that the docs show, or all of them into the folder named."""
    library = TemplateLibrary(ROOT / "include" / "templates")
    if len(sys.argv) > 1:
        for target in shoot_all(library, Path(sys.argv[1]).resolve()):
            print(target)
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture, (sample, height) in SHOWN.items():
        kind, data = samples(library, "en")[sample]
        page = library.render(kind, language="en", timezone="UTC", data=data).html or ""
        side_by_side(page, IMAGES / f"{picture}.png", height)


if __name__ == "__main__":
    main()
