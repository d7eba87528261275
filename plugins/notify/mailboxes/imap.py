"""A mailbox on an IMAP server (RFC 3501).

Airflow's hook knows the connection's form, and no more is taken from it: it searches for attachments by sequence
numbers, sets no timeout, and knows neither STARTTLS nor OAuth2.
"""

from __future__ import annotations

import contextlib
import imaplib
import socket
import ssl
from collections.abc import Iterator, Sequence
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
            client = _client(self.settings)
        try:
            with _faults(self.settings):
                _log_in(client, self.settings)
                mailbox = ImapMailbox(client, self.settings)
            yield mailbox
        finally:
            with contextlib.suppress(*_FAILURES):
                client.logout()


class ImapMailbox:
    """An open mailbox.

    :param client: logged in
    """

    def __init__(self, client: imaplib.IMAP4, settings: ImapSettings) -> None:
        self._client = client
        self._settings = settings
        self._processed = settings.extras.processed
        self._folder = settings.extras.mailbox
        self._exists = self._select()
        self._moves = "MOVE" in self._capabilities()

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

    def fetch(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The beginning of these mails; those that are gone by now are left out."""
        if not numbers:
            return
        with _faults(self._settings):
            answer = self._do("FETCH", _joined(numbers), f"(UID BODY.PEEK[]<0.{LARGEST}>)")
            contents = dict(_contents(answer))
        yield from ((number, contents[number]) for number in numbers if number in contents)

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


def _flags(answer: Sequence[Any]) -> Iterator[tuple[int, set[str]]]:
    r"""Number and flags of each mail in what imaplib makes of FETCH: ``1 (UID 42 FLAGS (\Seen))``."""
    for part in answer:
        if isinstance(part, bytes) and b"UID" in part.upper():
            words = part.upper().replace(b"(", b" ").replace(b")", b" ").split()
            yield int(words[words.index(b"UID") + 1]), {word.decode("ascii", "replace") for word in words}


def _contents(answer: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    """Number and content of each mail in what imaplib makes of FETCH: the number stands before the content."""
    for part in answer:
        if isinstance(part, tuple):
            words = part[0].upper().replace(b"(", b" ").split()
            yield int(words[words.index(b"UID") + 1]), part[1]


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
    except _FAILURES as error:
        cause, remedy = _explained(error, settings)
        form = f"Admin → Connections → {settings.conn_id}"
        raise MailboxFault(settings.redact(cause), remedy.replace("{form}", form)) from error


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
