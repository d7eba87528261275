"""A person who is erased: nothing tells of them any more, nobody else loses anything, and the books stay even."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from notify import set_deadline, set_reminder
from notify.channels.memory import MemoryChannel, SentMail
from notify.cli import main
from notify.domain.erasure import Erased, traces
from notify.domain.identity import Mark
from notify.drain import Drainer
from notify.erasing import erase
from notify.exceptions import ConfigurationError, TransitionError
from notify.handover import hand_over
from notify.rendering import mime
from notify.rendering.rewriting import rewrite_body
from notify.settings import HandOverSettings
from notify.storage import balance, identity, outbox, suppressions, unsubscriptions
from notify.storage.engine import transaction
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

ANNA = "anna@example.com"
SENDER = "smtp_default"

#: Long enough for base64 in any line.
POLISH = "Zażółć gęślą jaźń, ąęłńśćźż. " * 3

COLUMNS = sa.text("""
    select table_name, column_name, data_type from information_schema.columns
    where table_schema = 'notify' and data_type in ('text', 'jsonb', 'bytea', 'ARRAY')
""")


def found(engine: Engine, *wanted: str) -> list[str]:
    """Where one of these texts stands, in any column of any table, in plain or in a mail."""
    places = []
    with engine.connect() as connection:
        for table, column, kind in connection.execute(COLUMNS).all():
            value = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
            for one in wanted:
                query = sa.text(f"select count(*) from notify.{table} where strpos(lower({value}), :one) > 0")
                if connection.scalar(query, {"one": one}):
                    places.append(f"{table}.{column}: {one}")
        mails = sa.text("""
            select m.id, m.headers, m.boundary, c.body from notify.messages m
            join notify.contents c on c.id = m.content_id
        """)
        for number, headers, boundary, body in connection.execute(mails):
            mail = message_from_bytes(body if boundary else headers + b"\r\n" + body, policy=policy.default)
            texts = [str(part.get_content()) for part in mail.walk() if part.get_content_maintype() == "text"]
            head = message_from_bytes(headers, policy=policy.default)
            texts += [str(value) for value in head.values()]
            places += [f"mail {number}: {one}" for one in wanted if any(one in text.lower() for text in texts)]
    return places


def drain(engine: Engine) -> list[SentMail]:
    """Send what is due, and tell what arrives."""
    channel = MemoryChannel()
    Drainer(engine, channel, SENDER, limit=-1).run()
    return channel.outbox


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Iterator[Newsroom]:
    """Anna and Carl hear daily, Bob at once; Bob is Anna's supervisor."""
    made = Newsroom(engine, settings_of(write_templates(tmp_path / "templates")))
    made.hire("bob", "carl", groups=["team"])
    made.hire("anna", name="Anna Żółć", phone="+48123456789", groups=["team"], supervisor="bob")
    made.choose("anna", "daily")
    made.choose("carl", "daily")
    yield made
    engine.dispose()


@pytest.fixture
def give(engine: Engine, hand_over_settings: HandOverSettings) -> Callable[..., int]:
    """Hand a message over; its number."""

    def call(recipient: str = ANNA, **fields: Any) -> int:
        using = fields.pop("using", hand_over_settings)
        given = {"recipient": recipient, "subject": "Hi", "message": "Text"} | fields
        with engine.begin() as connection:
            return hand_over(connection, given, using).messages[0].id

    return call


def everything(room: Newsroom, give: Callable[..., int]) -> None:
    """Anna in every place where a person can be."""
    room.publish("anna; carl", word="one", case={"id": "1", "title": f"About {ANNA}", "owner": "anna"}, actor="bob")
    room.publish("team", word="two", actor="anna", case={"id": "2", "owner": "anna"}, idempotency_key=f"k:{ANNA}")
    room.publish("anna", "letter", word="three", occurred_at=LONG_AGO)
    room.publish(
        "anna; carl", word="four", occurred_at=LONG_AGO, data={"word": "four", "by": "anna", "to": [ANNA.upper()]}
    )
    room.merge()
    room.publish("anna; carl", word="five")
    room.publish(f"bob; {ANNA}", "alarm", word=f"write to {ANNA}!")
    give(
        subject=f"For {ANNA}", message=f"Dear Anna, {ANNA}", attachments=[{"filename": "anna.txt", "content": b"Anna"}]
    )
    give("anna", idempotency_key="welcome:anna")
    give("Anna@Example.COM; bob@example.com", one_mail=True, cc="carl", message=f"{POLISH} mailto:{ANNA}, {POLISH}")
    give("bob; carl", one_mail=True, bcc=ANNA, html=True, message=f"<p>{POLISH}<a href='mailto:{ANNA}'>Anna</a></p>")
    give("bob@example.com", subject=f"{POLISH[:40]} {ANNA}", message=f"Anna is {ANNA.upper()}.", reply_to=ANNA)
    give("bob@example.com", message="x" * 70 + f" {ANNA} and more of it, so that the line is long: ż")
    give("bob@example.com", subject="b", message=f"{POLISH} {ANNA} {POLISH}", add_template=False)
    drain(room.engine)
    give("anna; bob", one_mail=True, message=f"To be sent. {ANNA}")
    give("anna", send_after="P1D")
    held = give("anna", message="Held")
    with room.engine.begin() as connection:
        outbox.hold(connection, held)
        set_deadline(
            {"id": "1", "stage": "s", "owner": "anna"},
            "P1D",
            escalations=[{"after": "P1D", "to": ["anna", "carl"]}, {"after": "P2D", "to": ["anna"]}],
            connection=connection,
            settings=room.settings,
            set_by="anna",
        )
        set_reminder("anna", "2", "P2D", note=f"ask {ANNA}", connection=connection)
        set_deadline({"id": "9", "owner": "bob"}, "P1D", connection=connection, settings=room.settings)
        suppressions.add(connection, "old@example.com", f"{ANNA} asked", None)
    room.do("update notify.attempts set response = '250 <anna@example.com> ok' where number = 1")
    room.do("update notify.recipients set response = '250 Anna@Example.com ok' where outcome = 'accepted'")
    room.do("update notify.message_events set reason = 'refused: ' || :a, actor = 'anna (command line)'", a=ANNA)
    room.do("update notify.senders set last_fault = 'no ' || :a", a=ANNA)
    room.do(
        """
        insert into notify.bounces
            (report, message_id, position, address, action, status, blame, counts, words, reporter, notice)
        select sha256(m.id::text::bytea), m.id, 0, :a, 'failed', '5.1.1', 'hard', true, '<' || :a || '> unknown', 'mx',
               'due'
        from notify.messages m order by id limit 3
        """,
        a=ANNA,
    )


# --- The promise -----------------------------------------------------------------------------------------------------


def test_nothing_is_left(room: Newsroom, give: Callable[..., int]) -> None:
    """After an erasure no column of any table, and no mail, holds address, name or phone; the balance is even."""
    everything(room, give)
    assert len({place.split(":")[0] for place in found(room.engine, ANNA) if "mail" not in place}) > 15
    encoded = "select count(*) from notify.messages where strpos(encode(headers, 'escape'), 'Encoding: base64') > 0"
    assert room.rows(encoded) == [1]
    result = erase(room.engine, ANNA)
    assert found(room.engine, ANNA, "anna żółć", "+48123456789", "dear anna") == []
    assert result.left == {}
    balance = room.balance()
    assert balance.even, balance.wrong
    for table, column in (
        ("people", "login"), ("people", "supervisor"), ("memberships", "login"), ("preferences", "login"),
        ("recipients", "login"), ("notifications", "login"), ("deferred", "login"), ("deadlines", "login"),
        ("deadlines", "owner"), ("deadlines", "set_by"), ("cases", "owner"), ("events", "actor"), ("events", "owner"),
    ):  # fmt: skip
        assert room.rows(f"select {column} from notify.{table} where {column} = 'anna'") == [], f"{table}.{column}"
    assert room.rows("select data from notify.events where data::text like '%\"anna\"%'") == []
    assert room.rows("select plan from notify.deadlines where plan::text like '%\"anna\"%'") == []
    assert room.rows("select reason from notify.message_events where actor like 'anna%'") == []


def test_who_acted(room: Newsroom) -> None:
    """Whoever is erased is not named any more as who drew up the balance, or put down an unsubscription."""
    with transaction(room.engine, actor="anna (page)") as connection:
        balance.keep(connection, balance.draw_up(connection))
        unsubscriptions.add(connection, "zoe@example.org", unsubscriptions.BULK, "anna (API)")
    erase(room.engine, "anna")
    named = "select created_by from notify.balance union all select actor from notify.unsubscriptions"
    assert [one.partition("-")[0] for one in room.rows(named)] == ["erased", "erased"]


def test_erased_by_login_is_the_same(room: Newsroom, give: Callable[..., int]) -> None:
    """Who names the login gets the same, the present address and all former ones with it."""
    give("anna")
    room.hire("anna", email="new@example.com")
    give("anna")
    drain(room.engine)
    result = erase(room.engine, "anna")
    assert (result.logins, len(result.addresses), result.messages) == (("anna",), 2, 2)
    assert found(room.engine, ANNA, "new@example.com") == []


def test_an_outside_address(room: Newsroom, give: Callable[..., int]) -> None:
    """Somebody who is no person of ours, and has got mails and notifications, is erased as well."""
    room.publish("x@example.org; bob", word="out")
    give("x@example.org", message="To x")
    drain(room.engine)
    result = erase(room.engine, "X@example.org")
    assert (result.logins, result.messages, result.notifications) == ((), 2, 1)
    assert found(room.engine, "x@example.org") == []
    assert room.balance().even
    assert "out" in room.mails("bob")[0].text


def test_others_lose_nothing(room: Newsroom, give: Callable[..., int]) -> None:
    """Others' mails stay, word for word but for the address, and what was still to be sent to them is sent."""
    everything(room, give)
    before = {mail.id: mail for mail in room.mails() if mail.login in {"bob", "carl"}}
    erase(room.engine, ANNA)
    after = {mail.id: mail for mail in room.mails()}
    assert before.keys() <= after.keys()
    for number, mail in before.items():
        left = re.sub(r"erased-\w+-\d+@erased\.invalid", ANNA, after[number].text)
        assert left.lower() == mail.text.lower()
        assert after[number].to == mail.to
        assert ANNA not in str(after[number].parsed)
    sent = [mail for mail in drain(room.engine) if "To be sent." in mail.text]
    assert [mail.recipients for mail in sent] == [("bob@example.com",)]
    assert "anna" not in str(sent[0].parsed["To"]).lower()
    room.pass_time(timedelta(days=3))
    assert room.merge().failed == 0
    assert room.balance().even


def test_nothing_more_is_sent(room: Newsroom, give: Callable[..., int]) -> None:
    """What waited for the person, queued, held or put aside, is cancelled or closed, and cannot be sent again."""
    everything(room, give)
    queued = room.rows("select id from notify.messages where status in ('queued', 'held') order by id")
    result = erase(room.engine, "anna")
    assert result.cancelled == 2
    statuses = room.rows("select status from notify.messages where id = any(:ids) order by id", ids=queued)
    assert sorted(statuses) == ["cancelled", "cancelled", "queued"]
    assert room.rows("select to_status, reason from notify.message_events order by id desc limit 1") == [
        ("cancelled", "the person is erased")
    ]
    assert room.rows("select 1 from notify.deferred d where login <> 'carl'") == []
    assert all("erased" not in str(mail.recipients) for mail in drain(room.engine))
    # Nor is anybody told that mails to the person came back.
    assert set(room.rows("select notice, counts, words from notify.bounces")) == {("none", False, "")}
    with room.engine.begin() as connection, pytest.raises(TransitionError, match="erased"):
        outbox.resend(connection, queued[1])


def test_what_they_owned_goes_to_their_supervisor(room: Newsroom, give: Callable[..., int]) -> None:
    """A deadline of the person is the supervisor's; one that nobody could be told of ends."""
    everything(room, give)
    room.hire("dora", email="dora@example.com")
    with room.engine.begin() as connection:
        set_deadline({"id": "7", "owner": "dora"}, "P1D", connection=connection, settings=room.settings)
    erase(room.engine, "anna")
    erase(room.engine, "dora")
    assert dict(room.rows("select case_id, coalesce(owner, closed_reason) from notify.deadlines")) == {
        "1": "bob", "7": "cleared", "9": "bob",
    }  # fmt: skip
    assert room.rows("select owner from notify.cases where id = '1'") == ["bob"]
    [steps] = room.rows(
        """
        select array_agg(array_to_string(s.recipients, ',') order by s.position)
        from notify.deadline_steps s join notify.deadlines d on d.id = s.deadline_id where d.case_id = '1'
        """
    )
    assert steps == ["@owner", "carl", "@owner"]
    assert room.balance().even


def test_who_wanted_nothing_still_gets_nothing(room: Newsroom, give: Callable[..., int]) -> None:
    """A suppression outlives the erasure under a hash, and can be lifted by whoever knows the address."""
    with room.engine.begin() as connection:
        suppressions.add(connection, ANNA, f"{ANNA} complained", None)
    assert erase(room.engine, ANNA).suppressions == 1
    assert found(room.engine, ANNA) == []
    with room.engine.begin() as connection:
        assert list(suppressions.among(connection, ["Anna@example.com"])) == [ANNA]
        assert list(suppressions.find(connection, [ANNA])) == [ANNA]
        assert suppressions.lift(connection, ANNA)
        assert suppressions.among(connection, [ANNA]) == {}


def test_longer_addresses_are_others(room: Newsroom, give: Callable[..., int]) -> None:
    """Whose address contains the person's is somebody else, in every column and text."""
    others = ("joanna@example.com", "x.anna@example.com", "anna@example.com.pl", "anna@example.community")
    text = f"{' and '.join(others)} know {ANNA}, {ANNA}. {POLISH}"
    for other in others:
        give(other, subject=other, message=text)
    erase(room.engine, ANNA)
    assert [mail.to for mail in room.mails()] == list(others)
    for mail, other in zip(room.mails(), others, strict=True):
        assert mail.subject == other
        assert re.sub(r"erased-\w+-\d+@erased\.invalid", ANNA, " ".join(mail.text.split())).startswith(
            " ".join(text.split())
        )
        assert f"know {ANNA}" not in mail.text


# --- Doubts ----------------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing(room: Newsroom, give: Callable[..., int]) -> None:
    """A dry run counts what the erasure then does, and leaves every row as it was."""
    everything(room, give)
    tables = room.rows("select table_name from information_schema.tables where table_schema = 'notify' order by 1")
    whole = [f"select '{one}' || t::text from notify.{one} t order by 1" for one in tables]
    before = [room.rows(query) for query in whole]
    dry = erase(room.engine, ANNA, dry_run=True)
    assert [room.rows(query) for query in whole] == before
    assert erase(room.engine, ANNA) == replace(dry, left={})
    assert min(dry.people, dry.cancelled, dry.messages, dry.shared, dry.notifications, dry.files, dry.bodies) > 0


def test_twice(room: Newsroom, give: Callable[..., int]) -> None:
    """Of who is erased, or was never known, it says that nothing is known, instead of taking it for done."""
    everything(room, give)
    erase(room.engine, ANNA)
    for unknown in (ANNA, "anna", "ana@example.com"):
        with pytest.raises(ConfigurationError, match=f"Nothing is known of .?{unknown}"):
            erase(room.engine, unknown)


def test_known_by_a_report_alone(room: Newsroom, give: Callable[..., int]) -> None:
    """An address that nothing but a delivery report tells of is erased, though no count tells of that."""
    number = give("bob")
    room.do(f"""
        insert into notify.bounces (report, message_id, address, action, status, blame, counts, words, reporter, notice)
        values (sha256('r'), {number}, 'x@example.org', 'failed', '5.1.1', 'hard', false, '', '', 'none')
    """)
    assert erase(room.engine, "x@example.org").left == {}
    assert found(room.engine, "x@example.org") == []


def test_an_address_of_two(room: Newsroom) -> None:
    """A login whose address somebody else has too is refused; named as an address, both are erased."""
    room.hire("ann2", email="ANNA@example.com")
    with pytest.raises(ConfigurationError, match="also that of ann2"):
        erase(room.engine, "anna")
    assert erase(room.engine, "Anna@Example.com").logins == ("ann2", "anna")
    assert sorted(room.rows("select login from notify.people")) == ["bob", "carl"]


def test_an_address_that_is_anothers_now(room: Newsroom, give: Callable[..., int]) -> None:
    """A former address that somebody else has by now is left to them; the old mails to the login lose their text."""
    mine = give("anna", message="Mine")
    room.hire("anna", email="a@example.com")
    room.hire("dora", email=ANNA)
    hers = give("dora", message="Hers")
    erase(room.engine, "anna")
    assert dict(room.rows("select id, content_id is null from notify.messages")) == {mine: True, hers: False}
    assert room.rows("select email from notify.people where login = 'dora'") == [ANNA]


def test_a_message_being_sent(room: Newsroom, give: Callable[..., int]) -> None:
    """While a message to the person is being sent, nothing is erased."""
    give()
    room.do("update notify.messages set status = 'sending'")
    with pytest.raises(TransitionError, match="being sent"):
        erase(room.engine, ANNA)
    assert len(room.rows("select 1 from notify.people where login = 'anna'")) == 1


def test_files_in_object_storage(
    room: Newsroom, give: Callable[..., int], tmp_path: Path, hand_over_settings: HandOverSettings
) -> None:
    """A file that nobody else got is deleted from object storage; one that others got stays."""
    store = tmp_path / "store"
    store.mkdir()
    using = replace(hand_over_settings, attachment_store=f"file://{store}")
    give(attachments=[{"filename": "a", "content": b"hers"}, {"filename": "b", "content": b"both"}], using=using)
    give("bob", attachments=[{"filename": "b", "content": b"both"}], using=using)
    erase(room.engine, ANNA)
    assert [path.read_bytes() for path in store.iterdir()] == [b"both"]


def test_what_stays_is_told(room: Newsroom, give: Callable[..., int]) -> None:
    """A file that others got too is not changed; that the address stands in it is told, with the messages."""
    give("bob", attachments=[{"filename": "b", "content": b"nothing"}])
    number = give("anna; bob", one_mail=True, attachments=[{"filename": "a", "content": f"see {ANNA}".encode()}])
    result = erase(room.engine, ANNA)
    assert (result.left, result.left_in) == ({"attachments.content": 1}, [number])
    assert erase(room.engine, ANNA).left_in == [number]  # and again, though nothing else is known any more


@pytest.mark.usefixtures("notify")
@pytest.mark.parametrize("harm", ["copy", "locked"])
def test_files_that_stay_in_object_storage(  # noqa: PLR0917 - pytest passes them by name
    room: Newsroom,
    give: Callable[..., int],
    tmp_path: Path,
    hand_over_settings: HandOverSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    harm: str,
) -> None:
    """A restored copy leaves the files to its original, and says so; so it does of one that cannot be deleted yet."""
    store = tmp_path / "store"
    store.mkdir()
    give(
        attachments=[{"filename": "a", "content": b"hers"}],
        using=replace(hand_over_settings, attachment_store=f"file://{store}"),
    )
    [file] = store.iterdir()
    if harm == "copy":
        with room.engine.connect() as connection:
            ahead = Mark(identity.read(connection).id, 7)
        monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    else:
        file.unlink()
        (file / "in the way").mkdir(parents=True)
    assert main(["person", "erase", ANNA]) == 0
    said = {
        "copy": "1 file in object storage not deleted, for the original may need them: this outbox may be a restored",
        "locked": "1 file could not be deleted yet; the next run of Housekeeping tries again.",
    }
    assert said[harm] in capsys.readouterr().out
    assert list(store.iterdir()) == [file]
    assert len(room.rows("select 1 from notify.attachments where doomed_at is not null")) == 1


@pytest.mark.usefixtures("notify")
def test_command(
    room: Newsroom,
    give: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`person erase` tells who is meant and what it would do; what it did, it tells without a name, as does the log."""
    everything(room, give)
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        assert main(["person", "erase", ANNA, "--dry-run"]) == 0
        assert "Nothing was changed" in (dry := capsys.readouterr().out)
        assert main(["person", "erase", ANNA]) == 0
    done = capsys.readouterr().out
    assert "no table has an address of theirs any more" in done
    assert dry.splitlines()[0] == f"Logins: anna. Addresses: +48123456789, {ANNA}."
    assert done.splitlines()[0] == "Known by 1 login and 2 addresses."
    assert dry.splitlines()[1:-1] == done.splitlines()[1:-1]
    assert "anna" not in (done + caplog.text).lower()
    for unknown in ("nobody", "ana@example.com"):
        assert main(["person", "erase", unknown]) == 1
        assert "Nothing is known of" in capsys.readouterr().err
    number = give("bob", attachments=[{"filename": "a", "content": f"see {ANNA}".encode()}])
    assert main(["person", "erase", ANNA]) == 1
    assert f"1 in attachments.content. Of messages: {number} (" in capsys.readouterr().err


# --- Texts -----------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=120)


@given(before=WORDS, behind=WORDS, html=st.none() | WORDS, address=st.sampled_from([ANNA, "o'x+y_z@a-b.example"]))
def test_any_text_is_rewritten(before: str, behind: str, html: str | None, address: str) -> None:
    """In whatever text and encoding an address stands, it is found, replaced, and the rest is as it was."""
    erased = Erased("t", (), (address,))
    whole = f"{before} {address} {behind}"
    body = mime.compose_body(whole, None if html is None else f"<p>{html} {address}</p>")
    for stored in (body.content, mime.as_first_part(body)):
        raw = stored.replace(b"=\r\n", b"").replace(b"\r\n", b"").decode()
        assert address in raw.lower() or any(trace in raw for trace in traces(address))
        changed = rewrite_body(body.fields, stored, erased.clean)
        head = b"" if stored is not body.content else body.fields + b"\r\n"
        mail = message_from_bytes(head + changed, policy=policy.default)
        texts = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
        expected = "\n".join(erased.clean(whole).splitlines()) + "\n"
        assert texts[0].replace("\r\n", "\n") == expected
        assert not any(address in text.lower() for text in texts)
    assert rewrite_body(body.fields, body.content, lambda text: text) == body.content
