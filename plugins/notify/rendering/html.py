"""HTML as mail programs need it, and the way to and from plain text."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache

from css_inline import CSSInliner, InlineError
from inscriptis import Inscriptis
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.config import ParserConfig
from jinja2.utils import urlize
from lxml import etree
from lxml import html as lxml_html
from markupsafe import Markup, escape

log = logging.getLogger(__name__)

#: Where a reader of a mail can go. A path without a host leads nowhere from a mailbox.
_SCHEMES = ("https://", "http://", "mailto:", "tel:")

#: Rules in @media stay in a style element: dark mode and phones cannot be told inline. Nothing is fetched.
_INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)

_TEXT = ParserConfig(css=STRICT_CSS_PROFILE, display_images=True)

#: Signs at which a link may end. A word with more of them is none: urlize looks for its end in a time that grows with
#: their square (Jinja 3.1.6, 2026-11), and whoever writes a comment could keep a worker busy for hours.
_ENDING = ")>.,"
_MOST_ENDING = 50

#: Every link that urlize finds has one of these. Without, it need not look at each word: that is half the time of a
#: personal text.
_MAYBE_LINK = re.compile(r"://|\.\w")

_ALIGNING_BLANK = re.compile(r"^ | (?= )", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def inline_styles(html: str) -> str:
    """Put the style rules of a page on its elements, since many mail programs read them nowhere else.

    A style that is no CSS, as in ``style="red"``, leaves the rules of the whole page in its style element:
    browsers forgive it, and a message should not fail for it.

    :param html: a whole page
    """
    try:
        return _INLINER.inline(html)
    except InlineError as error:
        log.warning("The styles of a message stay in its style element, they cannot be inlined: %s.", error)
        return html


def is_address(value: str) -> bool:
    """Whether a reader can follow this link from a mailbox.

    :param value: what stands in ``href``
    """
    return value.lower().startswith(_SCHEMES) and not any(sign.isspace() for sign in value)


def paragraphs(text: str) -> Markup:
    """Plain text as HTML: escaped, with paragraphs, line breaks, indents and links that can be clicked.

    :param text: plain text; a blank line parts paragraphs
    """
    parts = _BLANK_LINES.split(_unix(text).strip("\n"))
    return Markup("\n").join(_paragraph(part) for part in parts if part.strip())


@lru_cache(maxsize=16)  # one message needs the same text in its preheader and in its text part
def to_text(html: str) -> str:
    """HTML as plain text; a link's address follows its words.

    :param html: a page or a part of one
    """
    # lxml refuses text that declares an encoding; to bytes, the encoding is given.
    content = html.replace("\0", "").encode("utf-8", "replace")
    if not content.strip():
        return ""
    tree = _parse(content)
    if tree is None:
        return ""
    for step in (_spell_out_links, _flatten_layout, _draw_rules):
        step(tree)
    return tidy(Inscriptis(tree, _TEXT).get_text().replace("\N{NO-BREAK SPACE}", " "), most_blank_lines=1)


def tidy(text: str, most_blank_lines: int | None = None) -> str:
    """Text without blanks at the ends of lines and of itself.

    :param text: plain text with any line breaks
    :param most_blank_lines: longer gaps are cut to this many; None leaves them
    """
    lines = "\n".join(line.rstrip() for line in _unix(text).split("\n")).strip("\n")
    if most_blank_lines is None:
        return lines
    gap = "\n" * (most_blank_lines + 1)
    return re.sub(rf"{gap}\n+", gap, lines)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _paragraph(text: str) -> Markup:
    # Several blanks would be shown as one; what is aligned or indented would lose its shape.
    shaped = _ALIGNING_BLANK.sub("\N{NO-BREAK SPACE}", _linked(text))
    return Markup("<p>" + shaped.replace("\n", "<br>\n") + "</p>")  # noqa: S704 - escaped below


def _linked(text: str) -> str:
    """Escaped, with links."""
    if not _MAYBE_LINK.search(text):
        return str(escape(text))
    if not any(map(_is_crowded, text.split())):
        return urlize(text, rel="noopener")
    words = re.split(r"(\s+)", text)
    return "".join(str(escape(word)) if _is_crowded(word) else urlize(word, rel="noopener") for word in words)


def _is_crowded(word: str) -> bool:
    return len(word) > _MOST_ENDING and sum(map(word.count, _ENDING)) > _MOST_ENDING


def _parse(content: bytes) -> lxml_html.HtmlElement | None:
    # Without huge_tree, text that lies deep is dropped without a word; with it, Inscriptis reaches Python's
    # limit of recursion, which is heard.
    try:
        return lxml_html.document_fromstring(content, parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=True))
    except etree.ParserError:
        return None  # nothing but comments


def _spell_out_links(tree: lxml_html.HtmlElement) -> None:
    for link in tree.iter("a"):
        address = (link.get("href") or "").strip()
        words = " ".join(link.text_content().split())
        if is_address(address) and words not in {address, address.partition(":")[2]}:
            _append(link, f" <{address}>" if words else address)


def _append(element: lxml_html.HtmlElement, text: str) -> None:
    last = element[-1] if len(element) else None
    if last is None:
        element.text = (element.text or "") + text
    else:
        last.tail = (last.tail or "") + text


def _flatten_layout(tree: lxml_html.HtmlElement) -> None:
    for table in tree.iterfind(".//table[@role='presentation']"):
        for part in (table, *_own_parts(table)):
            part.tag = "div"


def _own_parts(table: lxml_html.HtmlElement) -> Iterator[lxml_html.HtmlElement]:
    for part in table.iterchildren("tbody", "thead", "tfoot", "tr", "td", "th"):
        yield part
        yield from _own_parts(part)


def _draw_rules(tree: lxml_html.HtmlElement) -> None:
    for rule in tree.iter("hr"):
        rule.tag, rule.text = "p", "---"
