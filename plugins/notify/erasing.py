"""Erasing a person: what is theirs alone loses its content, what others have as well loses the person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection, Engine

from notify.domain.address import Address
from notify.domain.destination import Region
from notify.domain.erasure import Erased
from notify.exceptions import ConfigurationError
from notify.rendering.rewriting import rewrite_body, rewrite_headers
from notify.settings import phone_region
from notify.storage import attachments, campaign_recipients, erasure, identity, mentions, schema
from notify.storage.engine import set_actor
from notify.witness import Witness


@dataclass(slots=True)
class ErasureResult:
    """What was found of a person, and what became of it.

    :param logins: of the people
    :param addresses: theirs alone, former ones among them
    :param people: records that were removed, with groups, preferences and reminders
    :param cancelled: messages that would still have been sent to them alone
    :param messages: those to them alone, without content now
    :param shared: those to others as well, without them now
    :param notifications: that tell no longer whose they were
    :param files: attachments that nobody else got
    :param suppressions: that are kept as a hash
    :param bodies: of others, in which an address was replaced
    :param headers: likewise
    :param texts: rows of any table, likewise
    :param left: rows in which an address still stands, by table and column
    :param left_in: the messages whose text or files these are
    :param undeleted: doomed files that still lie in object storage
    :param copy: why none of these was deleted: the outbox may be a copy of one that needs them
    """

    logins: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    people: int = 0
    cancelled: int = 0
    messages: int = 0
    shared: int = 0
    notifications: int = 0
    files: int = 0
    suppressions: int = 0
    bodies: int = 0
    headers: int = 0
    texts: int = 0
    left: dict[str, int] = field(default_factory=dict)
    left_in: list[int] = field(default_factory=list)
    undeleted: int = 0
    copy: str | None = None

    @property
    def changed(self) -> int:
        """How much of what is counted was changed."""
        return sum((self.people, self.messages, self.shared, self.notifications, self.suppressions, self.bodies,
                    self.headers, self.texts))  # fmt: skip


def erase(
    engine: Engine, who: str, *, dry_run: bool = False, actor: str = "erase", region: Region = phone_region
) -> ErasureResult:
    """Erase a person from the outbox.

    :param who: an address, a telephone number, or a login
    :param dry_run: only find out what it would do
    :param actor: who asks for it, for the history
    :param region: the country of telephone numbers without the code of one
    :raises ConfigurationError: it cannot be said who is meant, or nothing is known of them
    :raises TransitionError: a message to the person is being sent at this moment
    """
    with engine.connect() as connection:
        with connection.begin() as transaction:
            set_actor(connection, actor)
            schema.require(connection)
            erased = erasure.find(connection, who, region)
            attempt = connection.begin_nested()
            result = _erase(connection, erased, region)
            if not result.changed:  # of what is counted
                attempt.rollback()
                _require_known(connection, erased, who)
                result = _erase(connection, erased, region)
            if dry_run:
                transaction.rollback()
                return result
        with connection.begin():
            _drop_files(connection, result)
            result.left = _left(connection, erased)
            if result.left:
                bodies = _bodies_left(connection, erased)
                result.left_in = mentions.messages_with(connection, erased, bodies)
    return result


def _require_known(connection: Connection, erased: Erased, who: str) -> None:
    if not _left(connection, erased):
        raise ConfigurationError(f"Nothing is known of {who}; nothing was changed. Is it written right?")


def _drop_files(connection: Connection, result: ErasureResult) -> None:
    """Delete what nobody needs from object storage; but a copy may share that with its original."""
    doomed = attachments.doomed(connection)
    if doomed:
        result.copy = identity.doubt(connection, Witness().read())
        result.undeleted = len(doomed) if result.copy else attachments.drop_doomed(connection, doomed)[1]


def _erase(connection: Connection, erased: Erased, region: Region) -> ErasureResult:
    result = ErasureResult(logins=erased.logins, addresses=erased.addresses)
    bodies = mentions.in_bodies(connection, erased, mentions.spelled(connection, erased))
    theirs = erasure.messages(connection, erased)
    result.messages, result.shared = len(theirs.alone), len(theirs.shared)
    contents = erasure.contents(connection, erased, theirs)
    result.cancelled = erasure.cancel(connection, theirs.alone)
    erasure.unsay(connection, erased, theirs)
    result.files = erasure.empty(connection, erased, theirs)
    erasure.events(connection, erased)
    result.notifications = erasure.notifications(connection, erased)
    erasure.drop_contents(connection, contents)
    result.texts = campaign_recipients.drop_rows(connection, erased.addresses, erased.logins, region)
    result.people = erasure.person(connection, erased)
    erasure.traces_of_logins(connection, erased)
    result.suppressions = erasure.suppress_hashed(connection, erased)
    result.bodies = sum(_clean_body(connection, erased, number) for number in bodies)
    result.headers = sum(
        _clean_headers(connection, erased, number) for number in mentions.in_headers(connection, erased, theirs.shared)
    )
    result.texts += mentions.rename(connection, erased)
    result.texts += mentions.clean_values(connection, erased) + mentions.clean_texts(connection, erased)
    return result


def _clean_body(connection: Connection, erased: Erased, number: int) -> bool:
    found = mentions.text(connection, number)
    if found is None:
        return False
    body = rewrite_body(found.fields, found.body, erased.clean)
    if body != found.body:
        mentions.set_text(connection, number, body)
    return body != found.body


def _clean_headers(connection: Connection, erased: Erased, number: int) -> bool:
    found = mentions.headed(connection, number)
    to, cc = _named(found.recipients, "to"), _named(found.recipients, "cc")
    headers = rewrite_headers(found.headers, to, cc, erased.clean)
    if headers != found.headers:
        mentions.set_headers(connection, number, headers)
    return headers != found.headers


def _left(connection: Connection, erased: Erased) -> dict[str, int]:
    """Where one of the addresses still stands."""
    bodies = _bodies_left(connection, erased)
    return mentions.left(connection, erased) | ({mentions.BODIES: len(bodies)} if bodies else {})


def _bodies_left(connection: Connection, erased: Erased) -> list[int]:
    texts = [(number, mentions.text(connection, number)) for number in mentions.in_bodies(connection, erased)]
    return [
        number
        for number, one in texts
        if one is not None and rewrite_body(one.fields, one.body, erased.clean) != one.body
    ]


def _named(recipients: Iterable[tuple[str, str, str]], role: str) -> list[Address]:
    return [Address(mailbox, name) for its, mailbox, name in recipients if its == role]
