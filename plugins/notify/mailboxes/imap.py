"""A mailbox on an IMAP server (RFC 3501).

Airflow's hook knows the connection's form, and no more is taken from it: it searches for attachments by sequence
numbers, sets no timeout, and knows neither STARTTLS nor OAuth2.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from notify.domain.bounce import LARGEST
from notify.exceptions import MailboxFault
from notify.mailboxes.imap_settings import DELETED, SEEN, ImapSettings

#: Of how many mails the flags are asked for at once.
STRIDE = 5000

#: Longer words of a server are cut.
_LONGEST = 300

#: What imaplib, ssl, msal and the network raise. A broken answer is whatever imaplib stumbles over.
_FAILURES = (
    imaplib.IMAP4.error,
    OSError,
    ImportError,
    UnicodeError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


#: The connection is gone.
_LOST = (imaplib.IMAP4.abort, ConnectionError)

#: What a server does over a mail that it cannot read: refuse it (NO), misunderstand (BAD), or hang up.
_STUMBLES = (MailboxFault, imaplib.IMAP4.error, ConnectionError)

#: What a server says of itself that is not a mail's fault (RFC 5530).
_PASSING = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|THROTTLED)\b", re.IGNORECASE)


class ImapSource:
    """Where the mailbox is.

    :param settings: what the connection says
    """

    def __init__(self, settings: ImapSettings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        """Of its connection."""
        return self.settings.conn_id

    @contextlib.contextmanager
    def open(self) -> Iterator[ImapMailbox]:
        """Connect, log in, and select the folder.

        :raises MailboxFault: that cannot be done
        """
        with _faults(self.settings):
            mailbox = ImapMailbox(self.settings)
        try:
            yield mailbox
        finally:
            mailbox.close()


class ImapMailbox:
    """A mailbox; it opens itself.

    :param settings: what the connection says
    """

    def __init__(self, settings: ImapSettings) -> None:
        self._settings = settings
        self._processed = settings.extras.processed
        self._folder = settings.extras.mailbox
        self._open()

    def _open(self) -> None:
        self._client = _client(self._settings)
        try:
            _log_in(self._client, self._settings)
            self._exists = self._select()
            self._validity = self._client.response("UIDVALIDITY")[1]
            self._moves = "MOVE" in self._capabilities()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Log out, if the server still listens."""
        with contextlib.suppress(*_FAILURES):
            self._client.logout()
        with contextlib.suppress(*_FAILURES):
            self._client.shutdown()  # where the first fails, its socket stays open

    def waiting(self, most: int) -> Sequence[int]:
        """The mails to read, the oldest first."""
        without = {r"\DELETED", r"\FLAGGED"} | ({SEEN.upper()} if self._processed in (SEEN, DELETED) else set())
        found: list[int] = []
        with _faults(self._settings):
            for first in range(1, self._exists + 1, STRIDE):
                # No SEARCH: its answer is one line, which may get too long.
                last = min(first + STRIDE - 1, self._exists)
                answer = self._answered("FETCH", *self._client.fetch(f"{first}:{last}", "(UID FLAGS)"))
                found += [number for number, flags in _flags(answer) if not without & flags]
                if len(found) >= most:
                    break
        return sorted(found)[:most]

    def fetch(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
        """The beginning of these mails; None for one that the server does not give. What is gone is left out.

        :raises MailboxFault: of several mails it gives none
        """
        if not numbers:
            return
        with _faults(self._settings):
            given = self._given(numbers)
        yield from ((number, given[number]) for number in numbers if number in given)

    def _given(self, numbers: Sequence[int]) -> Mapping[int, bytes | None]:
        """The mails at once; where the server stumbles over one of them, one by one, for the others must not wait."""
        try:
            return self._beginnings(numbers)
        except _STUMBLES as error:
            self._go_on_after(error)
        given: dict[int, bytes | None] = {}
        for number in numbers:
            try:
                given |= self._beginnings([number])
            except _STUMBLES as error:
                self._go_on_after(error)
                given[number] = None
                last = error
        if len(given) > 1 and not any(raw is not None for raw in given.values()):
            raise last  # that is no fault of the mails
        return given

    def _beginnings(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return dict(_contents(self._do("FETCH", _joined(numbers), f"(UID BODY.PEEK[]<0.{LARGEST}>)")))

    def _go_on_after(self, error: Exception) -> None:
        """Be ready for the next command: some servers end the connection over a mail that they cannot read.

        :raises MailboxFault: the server says that it will pass, or numbers its mails anew
        """
        if _PASSING.search(str(error)):
            raise error
        if isinstance(error, _LOST):
            before = self._validity
            self.close()
            self._open()
            if self._validity != before:
                raise error  # a number may be another mail's by now

    def keep(self, numbers: Sequence[int]) -> None:
        """Put these away; what nobody but its reader can judge is never deleted."""
        self._put_away(numbers, SEEN if self._processed == DELETED else self._processed)

    def finish(self, numbers: Sequence[int]) -> None:
        """Put these away: move, mark or delete them, as the connection says."""
        self._put_away(numbers, self._processed)

    def set_aside(self, numbers: Sequence[int]) -> None:
        r"""Leave these where they are, with the flag \Flagged."""
        if numbers:
            with _faults(self._settings):
                self._do("STORE", _joined(numbers), "+FLAGS.SILENT", r"(\Flagged)")

    def _put_away(self, numbers: Sequence[int], place: str) -> None:
        if not numbers:
            return
        with _faults(self._settings):
            if place in (SEEN, DELETED):
                self._do("STORE", _joined(numbers), "+FLAGS.SILENT", f"({place})")
            elif self._moves:
                self._do("MOVE", _joined(numbers), _quoted(place))
            else:
                self._do("COPY", _joined(numbers), _quoted(place))
                self._do("STORE", _joined(numbers), "+FLAGS.SILENT", f"({DELETED})")
            if place == DELETED or not (place == SEEN or self._moves):
                self._expunge(numbers)

    def _expunge(self, numbers: Sequence[int]) -> None:
        """Remove what is deleted; without UIDPLUS it would be others' as well, so there it stays, marked."""
        if "UIDPLUS" in self._capabilities():
            self._do("EXPUNGE", _joined(numbers))

    def _select(self) -> int:
        status, answer = self._client.select(_quoted(self._folder))
        if status != "OK":
            raise MailboxFault(
                f"There is no folder {self._folder} at {self._settings.place}, or none that may be read: "
                f"{self._words(answer)}.",
                f"Correct the extra mailbox in Admin → Connections → {self._settings.conn_id}.",
            )
        if self._processed not in (SEEN, DELETED):
            self._client.create(_quoted(self._processed))  # refused where it is there already; moving will tell
        return int(answer[0] or 0)

    def _capabilities(self) -> frozenset[str]:
        # Of a client before its login; afterwards servers tell of more.
        _, answer = self._client.capability()
        return frozenset(str(answer[-1] or b"", "ascii", "replace").upper().split())

    def _do(self, command: str, *arguments: str) -> list[Any]:
        """Give a command by UID.

        :raises MailboxFault: the server refused it
        """
        return self._answered(command, *self._client.uid(command, *arguments))

    def _answered(self, command: str, status: str, answer: list[Any]) -> list[Any]:
        if status != "OK":
            raise MailboxFault(
                f"{self._settings.place} refused {command}: {self._words(answer)}.",
                f"See to the rights and the quota of the mailbox, and to the extras mailbox and processed in "
                f"Admin → Connections → {self._settings.conn_id}.",
            )
        return answer

    def _words(self, answer: Sequence[Any]) -> str:
        return _words(b" ".join(part for part in answer if isinstance(part, bytes)), self._settings)


_NUMBER = re.compile(rb"\bUID (\d+)", re.IGNORECASE)


def _flags(answer: Sequence[Any]) -> Iterator[tuple[int, set[str]]]:
    r"""Number and flags of each mail in what imaplib makes of FETCH: ``1 (UID 42 FLAGS (\Seen))``."""
    for part in answer:
        if isinstance(part, bytes) and (number := _NUMBER.search(part)):
            words = part.upper().replace(b"(", b" ").replace(b")", b" ").split()
            yield int(number[1]), {word.decode("ascii", "replace") for word in words}


def _contents(answer: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    """Number and content of each mail in what imaplib makes of FETCH: ``(1 (UID 42 BODY[]<0> {5}``, ``Hello)``, ``)``.

    Some servers put the number behind the content.
    """
    for part, behind in zip(answer, [*answer[1:], b""], strict=True):
        if isinstance(part, tuple):
            number = _NUMBER.search(part[0]) or _NUMBER.search(behind if isinstance(behind, bytes) else b"")
            if number:
                yield int(number[1]), part[1]


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _quoted(folder: str) -> str:
    """A folder's name as IMAP has it: in quotes, and other alphabets in its own UTF-7 (RFC 3501, 5.1.3)."""
    return _string("".join(_shifted(folder)))


def _string(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _shifted(text: str) -> Iterator[str]:
    foreign = ""
    for one in f"{text}\0":
        if one != "\0" and not " " <= one <= "~":
            foreign += one
            continue
        if foreign:
            yield "&" + foreign.encode("utf-7").decode()[1:].rstrip("-").replace("/", ",") + "-"
            foreign = ""
        if one != "\0":
            yield "&-" if one == "&" else one


# --- Getting in ------------------------------------------------------------------------------------------------------


def _client(settings: ImapSettings) -> imaplib.IMAP4:
    extras = settings.extras
    if extras.use_ssl:
        return imaplib.IMAP4_SSL(settings.host, settings.port, ssl_context=_context(settings), timeout=extras.timeout)
    client = imaplib.IMAP4(settings.host, settings.port, timeout=extras.timeout)
    if extras.starttls:
        try:
            client.starttls(_context(settings))
        except BaseException:
            client.shutdown()
            raise
    return client


def _context(settings: ImapSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.extras.ssl_context == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _log_in(client: imaplib.IMAP4, settings: ImapSettings) -> None:
    if settings.extras.auth_type == "oauth2":
        said = f"user={settings.login}\x01auth=Bearer {_token(settings)}\x01\x01".encode()
        answers = iter((said, b""))  # asked a second time, the server has told why not, and waits for an empty line
        client.authenticate("XOAUTH2", lambda _challenge: next(answers, b""))
    else:
        # imaplib puts the password in quotes, and the login not.
        client.login(_string(settings.login), settings.password)


def _token(settings: ImapSettings) -> str:
    extras = settings.extras
    if extras.access_token:
        return extras.access_token
    if not (extras.client_id and extras.client_secret and extras.tenant_id):
        raise MailboxFault(
            f"Connection {settings.conn_id} has auth_type oauth2 and no token.",
            "Fill in access_token, or client_id, client_secret and tenant_id, in "
            f"Admin → Connections → {settings.conn_id}.",
        )
    import msal

    application = msal.ConfidentialClientApplication(
        client_id=extras.client_id,
        client_credential=extras.client_secret,
        authority=f"https://login.microsoftonline.com/{extras.tenant_id}",
    )
    answer = application.acquire_token_for_client(scopes=[extras.scope])
    if "access_token" not in answer:
        raise MailboxFault(
            f"No token for connection {settings.conn_id}: {answer.get('error_description') or answer.get('error')}.",
            f"Check client_id, client_secret, tenant_id and scope in Admin → Connections → {settings.conn_id}.",
        )
    return str(answer["access_token"])


# --- What went wrong -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _faults(settings: ImapSettings) -> Iterator[None]:
    """Say of whatever goes wrong what happened, and what to do."""
    try:
        yield
    except MailboxFault as fault:
        raise fault from None  # as below: it may have come of another error
    except _FAILURES as error:
        cause, remedy = _explained(error, settings)
        form = f"Admin → Connections → {settings.conn_id}"
        # "from None": a traceback would carry words that were not redacted.
        raise MailboxFault(settings.redact(cause), remedy.replace("{form}", form)) from None


_ENCRYPTION = (
    "Check Port and the extras use_ssl and starttls in {form}: encrypted from the first byte is usual on port 993, "
    "starttls (with use_ssl false) on 143."
)
_CERTIFICATE = (
    "Let Host in {form} be the name in the certificate, and let the workers trust who issued it (SSL_CERT_FILE). "
    'For a server in a lab, the extra ssl_context "none" skips the check.'
)
_LOGIN = (
    "Check Login and Password in {form}; some providers want an app password, or auth_type oauth2. If it is not the "
    f"login: {_ENCRYPTION}"
)
_LATER = "The next run tries again; if it stays so, ask whoever runs the mail server."


def _explained(error: BaseException, settings: ImapSettings) -> tuple[str, str]:
    said = _words(str(error).encode("utf-8", "replace"), settings)
    kind = next(kind for kind in _REMEDIES if isinstance(error, kind))
    cause, remedy = _REMEDIES[kind]
    words = {
        "place": settings.place,
        "host": settings.host,
        "seconds": settings.extras.timeout,
        "kind": type(error).__name__,
        "said": _words(str(getattr(error, "verify_message", "")).encode(), settings) or said,
    }
    return cause.format(**words), remedy


#: Cause and remedy, by what was raised; the first kind that fits explains.
_REMEDIES: dict[type[BaseException], tuple[str, str]] = {
    ssl.SSLCertVerificationError: (
        "The certificate of {place} was not accepted: {said}.",
        _CERTIFICATE,
    ),
    ssl.SSLError: ("No encrypted connection with {place}: {said}.", _ENCRYPTION),
    socket.gaierror: ("There is no host {host}: {said}.", "Check Host in {form}, and the workers' DNS."),
    TimeoutError: ("{place} did not answer within {seconds} s.", f"Check Host, and firewalls. {_ENCRYPTION}"),
    ConnectionRefusedError: ("Nothing listens at {place}: connection refused.", "Check Host and Port in {form}."),
    imaplib.IMAP4.abort: ("{place} closed the connection: {said}.", _LATER),
    imaplib.IMAP4.error: (
        "{place} refused: {said}.",
        _LOGIN,
    ),
    ImportError: ("For OAuth2 a library is missing: {said}.", "Install msal where the workers run."),
    Exception: ("{place}: {kind}: {said}.", _LATER),
}


def _words(said: bytes, settings: ImapSettings) -> str:
    text = " ".join(said.decode("utf-8", "replace").split())
    return settings.redact("".join(one if one.isprintable() else " " for one in text))[:_LONGEST].rstrip(".")
