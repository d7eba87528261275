"""Take the pictures of the house template that the README shows: ``python -m dev.mail_screenshots``.

Needs Chromium on the PATH (``chromium``, ``chromium-browser`` or ``google-chrome``).
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from notify.rendering.library import TemplateLibrary  # noqa: E402 - the path above is where it lies

IMAGES = ROOT / "docs" / "images"
PHONE = (390, 760)

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

DATA = {
    "site_name": "Halden Trading",
    "subject": "An invoice is waiting for your approval",
    "message": MESSAGE,
    "html": False,
    "case": {"id": "INV-2041", "url": "https://cases.example.com/INV-2041"},
    "footer_links": [{"label": "Notification settings", "url": "https://cases.example.com/settings"}],
}


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


def main() -> None:
    """Render one message and picture it on a phone, in light and in dark."""
    library = TemplateLibrary(ROOT / "include" / "templates")
    page = library.render("send_message", language="en", timezone="UTC", data=DATA).html or ""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        phones = {scheme: Path(folder) / f"{scheme}.png" for scheme in _SCHEME}
        for scheme, target in phones.items():
            shoot(framed(page, PHONE), target, PHONE, scheme)
        sources = {scheme: target.as_uri() for scheme, target in phones.items()}
        both = _SIDE_BY_SIDE.format(style=_PICTURE, **sources)
        shoot(both, IMAGES / "mail.png", (2 * PHONE[0] + 120, PHONE[1] + 76), "light")


if __name__ == "__main__":
    main()
