"""A session with an SMTP server that let us in: messages in, outcomes out, in as few round trips as it offers.

| the server offers | what is written; a bar where its replies are read | round trips |
| --- | --- | --- |
| nothing | MAIL, bar, RCPT, bar, …, DATA, bar, content, bar | 4 or more |
| PIPELINING (RFC 2920) | MAIL RCPT … DATA, bar, content, bar | 2 |
| and CHUNKING (RFC 3030) | MAIL RCPT … BDAT content, bar | 1 |

A message is in doubt only where its last octet was handed over and no answer came that settles it. Until then it was
provably not taken, whatever happens.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from notify.channels import wire
from notify.channels.base import Session
from notify.channels.dialogue import Client, NotSmtpError
from notify.channels.envelope import Envelope, Offers, Rcpt, prepare
from notify.channels.replies import Reply, words
from notify.channels.smtp_settings import SmtpSettings
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Parcel
from notify.exceptions import LeaseLost, SenderFault

#: Content is written in pieces, so that the timeout bounds a standstill and not the size of a message.
_PIECE = 1 << 16

#: The most that is written before replies are read: they must find room while nobody reads them (RFC 2920, 3.1).
_GROUP = 1 << 13

#: The longest content that goes with its envelope; what is longer is not sent before somebody may have it.
_AT_ONCE = 1 << 16

#: Messages of a session before it is worth to find out whether content may go with its envelope.
_BEFORE_PROOF = 2

#: How long content may take in all, in seconds: less than the drain's patience, for it is provably not taken until its
#: end, and a session that is given up leaves it in doubt.
_LONGEST_CONTENT = 480.0

#: After so many seconds of quiet, look whether the server has hung up: it is better known before than after.
_QUIET = 1.0

#: How long a server gets to say goodbye, in seconds.
_FAREWELL = 5.0

#: Enhanced codes of MAIL refusals that are about this message and not about us: too big, too big for the
#: system, an address that needs SMTPUTF8 (RFC 3463, RFC 6531).
_ABOUT_THE_MESSAGE = frozenset({"5.2.3", "5.3.4", "4.3.4", "5.6.7"})

#: Replies to a parameter of MAIL that is not known, though it was offered; and the parameters that not every message
#: has, so that the others pass (RFC 5321, 4.1.1.11; RFC 6152, RFC 6531).
_NO_PARAMETER = frozenset({504, 555})
_SPECIAL = re.compile(rb" (?:BODY=8BITMIME|SMTPUTF8)")

#: Replies that want a login, or a stronger one, or encryption (RFC 4954, 6; RFC 3207).
_LOGIN = frozenset({530, 534, 535, 538})

#: Replies to a command that was not understood, or came out of order: from a server that does not do what it offers.
_OUT_OF_STEP = frozenset({500, 502, 503})

#: Replies to a recipient too many for one transaction (RFC 5321, 4.5.3.1.10: 552 by an old mistake).
_TOO_MANY = frozenset({452, 552})

#: Enhanced codes that may come with them; others are about the recipient's mailbox or the server's disk.
_OF_TOO_MANY = frozenset({"", "4.5.3", "5.5.3"})

_MAIL, _DATA, _RSET, _CONTENT = b"MAIL", b"DATA\r\n", b"RSET\r\n", b"the content"
_GO_ON = 354

_ANSWERS = frozenset({2, 4, 5})
_VERDICTS = {2: Verdict.ACCEPTED, 4: Verdict.TEMPORARY, 5: Verdict.PERMANENT}
_HANDED_OVER = frozenset({Verdict.ACCEPTED, Verdict.IN_DOUBT})

_NO_BOUND = sys.maxsize

_ALL_AT_ONCE = "everything was handed over at once, no answer came"

#: A chunk before any MAIL, which every server refuses; and no command, for those that take it for one.
_FORBIDDEN_CHUNK = b"BDAT 8 LAST\r\nXPROOF\r\nRSET\r\n"

Said = tuple[int, bytes]


class SessionLostError(Exception):
    """The connection went, or speaks no SMTP any more.

    :param stage: the command whose answer was awaited
    :param told: whether the server said so itself (421): it takes nothing more then
    :param stalled: whether nothing came in time
    """

    def __init__(self, stage: str, why: str, *, told: bool = False, stalled: bool = False) -> None:
        self.told = told
        self.stalled = stalled
        super().__init__(f"the session ended at {stage}: {why}")


@dataclass(slots=True)
class Trust:
    """What the sessions of a channel still believe of what the server offers; what one learns counts for all.

    :param pipelining: commands may be written in groups
    :param chunking: content may go with its envelope
    """

    pipelining: bool = True
    chunking: bool = True


class SmtpSession(Session):
    """A session that is logged in.

    :param client: connected and logged in
    :param settings: the connection it came from
    :param trust: what is known of the server
    :param drop_token: what to do where the server wants a login once more, as after a token has run out
    """

    def __init__(
        self, client: Client, settings: SmtpSettings, trust: Trust, drop_token: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._replies = client.replies
        self._settings = settings
        self._trust = trust
        self._drop_token = drop_token
        self._offers = Offers.of(client)
        self._proven: bool | None = None
        self._sent = 0
        self._most = _NO_BOUND
        self._ready = True
        self._heard_at = time.monotonic()
        # A last short piece of a long message would else wait for the acknowledgement of the one before.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def alive(self) -> bool:
        """Whether the connection stands and no transaction was left half-way."""
        return self._ready and self._client.sock is not None

    def close(self) -> None:
        """Say QUIT on a session that is in order, and close."""
        with suppress(OSError, ValueError):
            if self.alive:
                patience = min(_FAREWELL, self._settings.extra_dejson["timeout"])
                self._replies.within(patience, self._socket)
                self._client.docmd("QUIT")
        self._ready = False
        self._hang_up()

    def send(self, parcel: Parcel) -> Outcome:
        """Send one message.

        :raises notify.exceptions.LeaseLost: the parcel's lease was over before its content was handed over
        """
        if not self.alive:
            raise self._fault("the session is closed", _RECONNECT)
        envelope = prepare(parcel, self._settings, self._offers)
        if isinstance(envelope, Outcome):
            return envelope
        self._ready = False  # an exception leaves it so: nobody knows what the server waits for
        try:
            if envelope.left:
                self._listen()
            while envelope.left and self._client.sock:
                self._transact(envelope, parcel)
        except SessionLostError as lost:
            why = _anonymous(str(lost), parcel)
            self._end(envelope, parcel, self._fault(why, _RECONNECT), why)
        except SenderFault as fault:
            why = _anonymous(fault.cause, parcel)
            self._end(envelope, parcel, SenderFault(why, fault.remedy), why)
        except LeaseLost as lost:
            self._end(envelope, parcel, lost, "not tried: the run had to stop before")
        self._ready = True
        self._heard_at = time.monotonic()
        told = envelope.told
        if len(told) < len(parcel.addressees):
            _give_up(envelope, parcel, "not tried: the session ended before")
        return Outcome(tuple([told[addressee.position] for addressee in parcel.addressees]))

    def _end(self, envelope: Envelope, parcel: Parcel, error: SenderFault | LeaseLost, text: str) -> None:
        """Give the session up. What nobody has goes back uncharged; else who has it must not get it again."""
        self._hang_up()
        if not any(one.verdict in _HANDED_OVER for one in envelope.told.values()):
            raise error from None
        _give_up(envelope, parcel, text)

    # --- the transaction ------------------------------------------------------------------------------------

    def _transact(self, envelope: Envelope, parcel: Parcel) -> None:
        """Try to send to those who are left, or to as many of them as the server takes at once."""
        batch, envelope.left = envelope.left[: self._most], envelope.left[self._most :]
        if self._goes_at_once(envelope, parcel, batch):
            self._at_once(envelope, parcel, batch)
        else:
            self._with_data(envelope, parcel, batch)

    def _with_data(self, envelope: Envelope, parcel: Parcel, batch: list[Rcpt]) -> None:
        grouped = self._grouping  # asked once: another session may learn better meanwhile
        said, data = self._introduce(envelope, batch, grouped=grouped)
        accepted = self._accepted(envelope, batch, said, grouped=grouped)
        if not accepted:
            self._call_off(data)
            return
        if data is None:
            self._say(_DATA)
            data = self._hear(_DATA, going_on=_GO_ON)
        if data[0] == _GO_ON:
            final = self._content(envelope, parcel)
        elif grouped and data[0] in _OUT_OF_STEP:
            self._reset()
            self._one_by_one(envelope, accepted)
            return
        else:
            if data[0] in _LOGIN:
                raise self._unwelcome(data)
            final = self._outcome(0, data)
            self._reset()
        self._tell(envelope, accepted, final)

    def _introduce(self, envelope: Envelope, batch: list[Rcpt], *, grouped: bool) -> tuple[list[Said], Said | None]:
        """Say MAIL and RCPT, and DATA where commands are grouped; return what was said to them."""
        commands = [envelope.mail, *[command for _, command in batch]]
        if grouped:
            commands.append(_DATA)
        said: list[Said] = []
        for group in _groups(commands) if grouped else ([command] for command in commands):
            self._say(b"".join(group))
            try:
                for place, command in enumerate(group):
                    said.append(self._hear_grouped(command, place))
            except SessionLostError:
                if not said or said[0][0] < 300:
                    raise
                self._hang_up()
            if said[0][0] >= 300:  # no use to go on, and nothing more to learn
                break
        return said, said.pop() if grouped and len(said) == len(commands) else None

    def _hear_grouped(self, command: bytes, place: int) -> Said:
        try:
            return self._hear(command, going_on=_GO_ON if command is _DATA else 0)
        except SessionLostError as lost:
            if place and lost.stalled:  # it may have forgotten what came with the first command
                self._trust.pipelining = False
            raise

    def _call_off(self, data: Said | None) -> None:
        """Nobody may have it: end the transaction. What the server makes of no content at all is no matter."""
        with suppress(SessionLostError):
            if data and data[0] == _GO_ON:
                self._say(b".\r\n")
                self._hear(_DATA)
        self._reset()

    def _content(self, envelope: Envelope, parcel: Parcel) -> RecipientOutcome:
        """Hand the content over; the position of what is returned means nothing."""
        _require_lease(parcel)
        try:
            self._write(wire.stuffed(envelope.content))
        except OSError as error:
            return self._broken_off(error)
        return self._final("everything was handed over, no answer came")

    def _write(self, content: bytes) -> None:
        if len(content) <= _PIECE:
            self._socket.sendall(content)
            return
        deadline = time.monotonic() + _LONGEST_CONTENT
        view = memoryview(content)
        for start in range(0, len(view), _PIECE):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it took longer than {_LONGEST_CONTENT:.0f} s")
            self._socket.sendall(view[start : start + _PIECE])

    def _broken_off(self, error: OSError) -> RecipientOutcome:
        """Learn why, from what a server may say as it hangs up. The final dot was surely not sent."""
        reply = None
        if not isinstance(error, TimeoutError):
            with suppress(OSError, NotSmtpError):
                reply = self._replies.read(self._socket)
        self._hang_up()
        if reply and reply[0] // 100 in {4, 5}:
            return self._outcome(0, reply)
        text = f"the connection was lost while the message was handed over: {words(error)}"
        return RecipientOutcome(0, Verdict.TEMPORARY, None, text)

    def _final(self, doubt: str) -> RecipientOutcome:
        """Read the answer that settles it.

        :param doubt: what to say where there is none
        """
        try:
            said = self._hear(_CONTENT, final=True)
        except SessionLostError as lost:
            self._hang_up()
            return RecipientOutcome(0, Verdict.IN_DOUBT, None, f"{doubt}: {lost}")
        if said[0] == 421:
            self._hang_up()
        elif said[0] >= 300:
            self._reset()
        return self._outcome(0, said)

    # --- all in one write -----------------------------------------------------------------------------------

    def _goes_at_once(self, envelope: Envelope, parcel: Parcel, batch: list[Rcpt]) -> bool:
        """Whether content may go with its envelope; more of it would be in doubt where a connection is lost."""
        if not (self._offers.chunking and self._grouping and self._trust.chunking) or parcel.cautious:
            return False
        if len(envelope.content) > _AT_ONCE or len(envelope.mail) + sum(len(rcpt[1]) for rcpt in batch) > _GROUP:
            return False
        if self._proven is None:
            self._sent += 1
            if self._sent <= _BEFORE_PROOF:
                return False
            self._prove()
        return bool(self._proven)

    def _prove(self) -> None:
        self._proven = False
        try:
            self._proven = self._drops_what_it_refuses()
        finally:  # a server may as well hang up
            self._trust.chunking = self._trust.chunking and self._proven

    def _drops_what_it_refuses(self) -> bool:
        """Find out whether the server reads a chunk that it refuses as commands.

        It must drop it (RFC 3030, 2), and there are servers that do not (go-smtp issue 315, 2026-09), beside those
        that do not know BDAT and offer it. There, whoever has a say in a mail's text could give commands on our
        session, if nobody were left to get that mail.
        """
        self._say(_FORBIDDEN_CHUNK)
        refused = self._hear(_FORBIDDEN_CHUNK)[0] >= 400
        dropped = self._hear(_FORBIDDEN_CHUNK)[0] < 300  # the answer to RSET; else to the chunk
        if not dropped and self._hear(_RSET)[0] >= 300:
            raise SessionLostError("BDAT", "a refused chunk upset the server")
        return refused and dropped

    def _at_once(self, envelope: Envelope, parcel: Parcel, batch: list[Rcpt]) -> None:
        commands = [envelope.mail, *[command for _, command in batch]]
        _require_lease(parcel)
        chunk = b"BDAT %d LAST\r\n" % len(envelope.content)
        self._say(b"".join((*commands, chunk, envelope.content)))
        said: list[Said] = []
        try:
            for command in commands:
                said.append(self._hear(command))  # noqa: PERF401 - as above
        except SessionLostError as lost:
            if lost.told:  # it takes nothing any more
                raise
            self._hang_up()
            if not said or said[0][0] < 300:
                self._leave_in_doubt(envelope, batch, said[1:], lost)
                return
        accepted = self._accepted(envelope, batch, said, grouped=True)
        self._settle_chunk(envelope, accepted)

    def _settle_chunk(self, envelope: Envelope, accepted: list[Rcpt]) -> None:
        final = self._final(_ALL_AT_ONCE)
        if final.code in _OUT_OF_STEP | {501, 504} and accepted:
            self._trust.chunking = False
            envelope.left[:0] = accepted
        else:
            self._tell(envelope, accepted, final)

    def _leave_in_doubt(self, envelope: Envelope, batch: list[Rcpt], said: list[Said], lost: SessionLostError) -> None:
        """The server has it all, and fell silent before the last word; whom it refused is sure."""
        for place, (position, _) in enumerate(batch):
            if place < len(said) and said[place][0] >= 300:
                envelope.told[position] = self._outcome(position, said[place])
            else:
                text = f"{_ALL_AT_ONCE}: {lost}"
                envelope.told[position] = RecipientOutcome(position, Verdict.IN_DOUBT, None, text)

    # --- what was said --------------------------------------------------------------------------------------

    def _accepted(self, envelope: Envelope, batch: list[Rcpt], said: list[Said], *, grouped: bool) -> list[Rcpt]:
        """Tell who may have the content, by the answers to MAIL and RCPT."""
        if self._mail_refused(envelope, batch, said[0]):
            return []
        return self._sort(envelope, batch, said[1:], grouped=grouped)

    def _mail_refused(self, envelope: Envelope, batch: list[Rcpt], said: Said) -> bool:
        """Whether MAIL was refused because of this message.

        :raises notify.exceptions.SenderFault: it was refused, and so would any other be: nothing of the message but
            its size is known yet
        """
        if said[0] < 300:
            return False
        reply = self._reply(said)
        special = reply.code in _NO_PARAMETER and _SPECIAL.search(envelope.mail)
        if not (special or reply.code == 552 or reply.enhanced in _ABOUT_THE_MESSAGE):
            raise self._unwelcome(said)
        for position, _ in [*batch, *envelope.left]:
            envelope.told[position] = self._outcome(position, said)
        envelope.left = []
        return True

    def _unwelcome(self, said: Said) -> SenderFault:
        reply = self._reply(said)
        if reply.code in _LOGIN:
            self._drop_token()
            return self._fault(f"the server wants another login: {reply}", _CHECK_LOGIN)
        if reply.verdict is Verdict.TEMPORARY:
            return self._fault(f"the server takes no mail for now: {reply}", _LATER)
        return self._fault(f"the From address was refused: {reply}", _CHECK_FROM)

    def _sort(self, envelope: Envelope, batch: list[Rcpt], said: list[Said], *, grouped: bool) -> list[Rcpt]:
        """Tell apart whom the server accepts; who is to be asked about again goes back to those who are left."""
        accepted: list[Rcpt] = []
        again: list[Rcpt] = []
        for rcpt, one in zip(batch, said, strict=True):
            code = one[0]
            if code < 300:
                accepted.append(rcpt)
            elif grouped and code in _OUT_OF_STEP:
                again.append(rcpt)
            elif accepted and code in _TOO_MANY and self._reply(one).enhanced in _OF_TOO_MANY:
                envelope.later.append((rcpt, one))
            else:
                envelope.told[rcpt[0]] = self._outcome(rcpt[0], one)
        if again:
            self._one_by_one(envelope, again)
        elif not accepted and (login := next((one for one in said if one[0] in _LOGIN), None)):
            raise self._unwelcome(login)
        return accepted

    def _one_by_one(self, envelope: Envelope, rcpts: list[Rcpt]) -> None:
        """The server does not do what it offers: from now on each command waits for its answer."""
        self._trust.pipelining = False
        envelope.left[:0] = rcpts

    def _tell(self, envelope: Envelope, accepted: list[Rcpt], final: RecipientOutcome) -> None:
        """Let whom RCPT accepted share the fate of the content; who was one too many has a turn of their own."""
        for position, _ in accepted:
            envelope.told[position] = RecipientOutcome(position, final.verdict, final.code, final.text)
        later, envelope.later = envelope.later, []
        if later and final.verdict is Verdict.ACCEPTED:
            self._most = len(accepted)
            envelope.left[:0] = [rcpt for rcpt, _ in later]
            return
        for (position, _), (code, text) in later:
            envelope.told[position] = RecipientOutcome(position, Verdict.TEMPORARY, code, self._words(text))

    def _outcome(self, position: int, said: Said) -> RecipientOutcome:
        verdict = _VERDICTS[said[0] // 100]
        return RecipientOutcome(position, verdict, said[0], self._words(said[1]))

    def _reply(self, said: Said) -> Reply:
        return Reply(said[0], self._words(said[1]))

    def _words(self, text: bytes) -> str:
        return self._settings.redact(words(text))

    # --- the connection -------------------------------------------------------------------------------------

    @property
    def _grouping(self) -> bool:
        return self._offers.pipelining and self._trust.pipelining

    @property
    def _socket(self) -> socket.socket:
        if self._client.sock is None:
            raise ConnectionAbortedError("the connection is closed")
        return self._client.sock

    def _listen(self) -> None:
        """Make sure that the server is not past its last word, while nothing of the message has been said."""
        if time.monotonic() - self._heard_at > _QUIET:
            try:
                self._replies.look(self._socket)
            except OSError as error:
                raise SessionLostError("MAIL", words(error)) from None
        if self._replies.pending:
            raise SessionLostError("MAIL", f"nothing was asked, and it said: {self._reply(self._hear(_MAIL))}")

    def _say(self, data: bytes) -> None:
        """Write where the message is not taken yet; if not all of it gets through, it is not taken either."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            why = words(error)
            if not isinstance(error, TimeoutError):
                with suppress(OSError, NotSmtpError):  # what it said as it hung up
                    why = str(self._reply(self._replies.read(self._socket)))
            raise SessionLostError(_verb(data), why) from None

    def _hear(self, command: bytes, *, going_on: int = 0, final: bool = False) -> Said:
        """Read the answer to a command; one that is none is as good as a lost connection.

        :param going_on: an intermediate reply code (3yz) that is expected
        :param final: 421 is an answer like others
        """
        try:
            said = self._replies.read(self._socket)
        except (OSError, NotSmtpError) as error:
            stalled = isinstance(error, TimeoutError)
            raise SessionLostError(_verb(command), self._settings.redact(words(error)), stalled=stalled) from None
        code = said[0]
        if code == 421 and not final:
            raise SessionLostError(_verb(command), str(self._reply(said)), told=True)
        if code == going_on or (code // 100 in _ANSWERS and not (going_on and code < 300)):
            return said
        raise SessionLostError(_verb(command), f"not an answer to {_verb(command)}: {self._reply(said)}")

    def _reset(self) -> None:
        """Have the server forget the transaction; the outcome stands whether it hears us or not."""
        try:
            self._say(_RSET)
            if self._hear(_RSET)[0] >= 300:
                self._hang_up()
        except SessionLostError:
            self._hang_up()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._client.close()

    def _fault(self, problem: str, remedy: str) -> SenderFault:
        settings = self._settings
        form = f"Admin → Connections → {settings.conn_id}"
        return SenderFault(f"{settings.place}: {problem}.", remedy.format(form=form))


def _groups(commands: list[bytes]) -> Iterator[list[bytes]]:
    """Commands in groups that may be written before anything is read."""
    group: list[bytes] = []
    size = 0
    for command in commands:
        if group and size + len(command) > _GROUP:
            yield group
            group, size = [], 0
        group.append(command)
        size += len(command)
    yield group


def _verb(command: bytes) -> str:
    return "the final answer" if command is _CONTENT else command[:4].decode()


def _require_lease(parcel: Parcel) -> None:
    if parcel.lease is not None and not parcel.lease.holds:
        raise LeaseLost


def _anonymous(text: str, parcel: Parcel) -> str:
    """A server's words without the recipients' addresses: what is told of a sender goes into a run's log."""
    for addressee in parcel.addressees:
        text = re.sub(re.escape(addressee.address), "(a recipient)", text, flags=re.IGNORECASE)
    return text


def _give_up(envelope: Envelope, parcel: Parcel, text: str) -> None:
    """What was not tried is refused for now."""
    for position in parcel.positions:
        envelope.told.setdefault(position, RecipientOutcome(position, Verdict.TEMPORARY, None, text))


_RECONNECT = (
    "Nothing if it happens now and then: the message leaves on another connection. If it stays so, look at "
    "the mail server's log, and at how many connections and mails it allows; max_connections is in {form}."
)
_CHECK_FROM = "Check From email, Login and Password in {form}, and whether that login may send from it."
_CHECK_LOGIN = (
    "Check Login and Password in {form}; where a token logs in (auth_type oauth2), the next connection gets a fresh "
    "one, but an access_token that stands in the extras must be renewed there."
)
_LATER = (
    "Nothing if it passes: the messages wait, and the next run tries again. If it stays so, ask whoever runs the mail "
    "server what it complains of; max_connections is in {form}."
)
