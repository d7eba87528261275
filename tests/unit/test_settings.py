"""Settings as they come from Airflow's Variables and connections, by Airflow's own ways of looking them up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from notify import settings
from notify.domain.channel import ChannelName
from notify.exceptions import ConfigurationError
from notify.storage.engine import engine_for, normal_url

PASSWORD = "p@ss/w:rd"


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Set a Variable as an admin may who deploys by environment."""
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", value)


def set_connection(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    """Set a connection, by default as JSON."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


# --- Variables -------------------------------------------------------------------------------------------------------


def test_variable_missing() -> None:
    """A Variable that is not set is its default."""
    assert settings.variable("notify_nothing", "default") == "default"
    assert settings.variable("notify_nothing") == ""


@pytest.mark.parametrize(("value", "read"), [("a", "a"), (" a\n", "a"), ("", "default"), ("  ", "default")])
def test_variable(monkeypatch: pytest.MonkeyPatch, value: str, read: str) -> None:
    """A Variable is read when it is used, without blanks around; an empty one is its default."""
    assert settings.variable("notify_x", "default") == "default"
    set_variable(monkeypatch, "notify_x", value)
    assert settings.variable("notify_x", "default") == read


@pytest.mark.parametrize(
    ("value", "senders"),
    [
        ("", ("smtp_default",)),
        ('["b", "a"]', ("b", "a")),
        ('["a", "b", "a"]', ("a", "b")),
        ('["smtp-2.site_A"]', ("smtp-2.site_A",)),
    ],
)
def test_senders(monkeypatch: pytest.MonkeyPatch, value: str, senders: tuple[str, ...]) -> None:
    """Senders are known in the order of the Variable, each once."""
    set_variable(monkeypatch, "notify_senders", value)
    assert settings.senders() == senders


@pytest.mark.parametrize(
    "value",
    [
        "smtp_default",
        "[]",
        "{}",
        '"a"',
        "[1]",
        '[""]',
        '["a b"]',
        '["smtp "]',
        '["a/b"]',
        '["é"]',
        "[" * 100_000,
        '["a"',
    ],
)
def test_senders_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """What is no list of names that a task, a pool and a connection can have is an error with an example."""
    set_variable(monkeypatch, "notify_senders", value)
    with pytest.raises(ConfigurationError, match=r'notify_senders .* Write, for example, \["smtp_default"\]'):
        settings.senders()


def test_timezone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time zone is UTC or the IANA name that is set."""
    assert settings.timezone() == "UTC"
    set_variable(monkeypatch, "notify_timezone", "Europe/Warsaw")
    assert settings.timezone() == "Europe/Warsaw"


@pytest.mark.parametrize("name", ["CEST+1", "Mars/Olympus", "../../etc/passwd", "europe/warsaw "])
def test_timezone_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is no time zone is an error with an example."""
    set_variable(monkeypatch, "notify_timezone", name)
    with pytest.raises(ConfigurationError, match=r"notify_timezone .* no time zone. Write an IANA name"):
        settings.timezone()


@pytest.mark.parametrize(
    ("bodies", "rows", "kept"),
    [
        ("", "", (90, 730)),
        ("P30D", "P1Y", (30, 365)),
        ("p7d", " PT48H ", (2, 2)),  # no body outlives its message
    ],
)
def test_keep(monkeypatch: pytest.MonkeyPatch, bodies: str, rows: str, kept: tuple[int, int]) -> None:
    """How long bodies and rows are kept, in any way of ISO 8601, with a default for each."""
    set_variable(monkeypatch, "notify_keep_bodies", bodies)
    set_variable(monkeypatch, "notify_keep_rows", rows)
    found = settings.keep()
    assert (found.bodies.days, found.rows.days) == kept


@pytest.mark.parametrize("name", ["notify_keep_bodies", "notify_keep_rows"])
@pytest.mark.parametrize("value", ["90", "90 days", "PT23H", "P0D", "-P90D", "P99999999D", "forever"])
def test_keep_invalid(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What is no time to keep something, or would keep nothing, is refused with the Variable's name."""
    set_variable(monkeypatch, name, value)
    said = rf"The Variable {name} cannot be used: '{value}' is no ISO 8601 duration .*write, for example, P90D"
    with pytest.raises(ConfigurationError, match=said):
        settings.keep()


# --- The outbox database ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conn_type", ["postgres", "generic"])
def test_database_by_json(monkeypatch: pytest.MonkeyPatch, conn_type: str) -> None:
    """The connection's fields become the database's address, odd characters in the password included."""
    set_connection(
        monkeypatch,
        "notify_db",
        conn_type=conn_type,
        host="db.example.com",
        port=6432,
        login="notify",
        password=PASSWORD,
        schema="outbox",
    )
    url = settings.database_url()
    assert (
        url.render_as_string(hide_password=False)
        == "postgresql+psycopg://notify:p%40ss%2Fw%3Ard@db.example.com:6432/outbox"
    )
    assert url.password == PASSWORD
    assert PASSWORD not in str(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_database_by_uri(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Airflow's short form of a connection means the same."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_NOTIFY_DB", f"{scheme}://notify:p%40ss%2Fw%3Ard@db.example.com/outbox?sslmode=require"
    )
    url = settings.database_url()
    assert (url.host, url.password, url.database) == ("db.example.com", PASSWORD, "outbox")
    assert dict(url.query) == {"sslmode": "require"}


def test_database_on_a_unix_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is a folder is a Unix socket, and reaches the driver as such."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify@%2Fvar%2Frun%2Fpostgresql/outbox")
    engine = engine_for(settings.database_url())
    _, options = engine.dialect.create_connect_args(engine.url)
    assert options["host"] == "/var/run/postgresql"
    assert options["dbname"] == "outbox"


def test_database_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras that libpq knows are passed on, as text; those of Airflow's hook are not."""
    extra = {"sslmode": "verify-full", "keepalives_idle": 30, "cursor": "dictcursor", "iam": True}
    set_connection(monkeypatch, "notify_db", conn_type="postgres", host="h", extra=extra)
    assert dict(settings.database_url().query) == {"sslmode": "verify-full", "keepalives_idle": "30"}


def test_database_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connection leaves empty is left to libpq."""
    set_connection(monkeypatch, "notify_db", conn_type="postgres")
    url = settings.database_url()
    assert (url.username, url.password, url.host, url.port, url.database) == (None,) * 5


@pytest.mark.parametrize("extra", ["sslmode=require", "[1]", '"x"', "5"])
def test_database_with_broken_extras(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    """Extras that cannot be read are an error: an sslmode among them must not get lost."""
    set_connection(monkeypatch, "notify_db", conn_type="postgres", host="h", extra=extra)
    with pytest.raises(
        ConfigurationError, match=r"extras of the connection notify_db are no JSON object. Correct them"
    ):
        settings.database_url()


@pytest.mark.parametrize("value", ["{bad", "postgres://h:port/x"])
def test_unreadable_database(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A connection in the environment that Airflow cannot read is not told as a missing one."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", value)
    with pytest.raises(ConfigurationError, match="cannot read AIRFLOW_CONN_NOTIFY_DB"):
        settings.database_url()


def test_no_database() -> None:
    """Without the connection, the error says how to add it."""
    with pytest.raises(ConfigurationError, match=r"no connection notify_db. Add it .* or set AIRFLOW_CONN_NOTIFY_DB"):
        settings.database_url()


def test_database_of_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of another type is an error that names both types and keeps the password to itself."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "mysql://notify:geheim@h/outbox")
    with pytest.raises(
        ConfigurationError, match=r"type 'mysql'; the outbox needs postgres or generic. Change it"
    ) as caught:
        settings.database_url()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgres://h/d", "postgresql://h/d", "postgresql+psycopg2://h/d", "postgresql+asyncpg://h/d"]
)
def test_one_driver(url: str) -> None:
    """Whatever spelling or driver an address has, ours is used."""
    assert normal_url(url).render_as_string() == "postgresql+psycopg://h/d"


@pytest.mark.parametrize(
    ("url", "says"), [("nonsense", "cannot be read"), ("sqlite:///x.db", "needs PostgreSQL, not sqlite")]
)
def test_no_other_database(url: str, says: str) -> None:
    """Another database, or no address, is an error with a remedy."""
    with pytest.raises(ConfigurationError, match=says):
        normal_url(url)


# --- Message-IDs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hostname(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of this host, made known."""
    monkeypatch.setattr("socket.getfqdn", lambda: "host.example.net")
    return "host.example.net"


@pytest.mark.parametrize(
    ("connection", "domain"),
    [
        ({"extra": {"from_email": "a@from.example"}, "login": "a@login.example"}, "from.example"),
        ({"extra": {"from_email": "Me <a@from.example>"}}, "from.example"),
        ({"extra": {"from_email": "a@bücher.example"}}, "xn--bcher-kva.example"),
        ({"login": "a@login.example"}, "login.example"),
        ({"extra": {"from_email": "nonsense"}, "login": "a@login.example"}, "login.example"),
        ({"extra": {"from_email": "a@x.example\r\nBcc: eve@x.example"}}, "airflow.example.org"),
        ({"extra": {"from_email": 5}, "login": "user"}, "airflow.example.org"),
        ({"extra": "nonsense", "login": "a@login.example"}, "login.example"),
        ({}, "airflow.example.org"),
    ],
)
def test_message_id_domain(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], domain: str) -> None:
    """A Message-ID's domain is that of the sender's address, else of the site; never anything that is no domain."""
    set_variable(monkeypatch, "notify_base_url", "https://airflow.example.org:8080/x")
    set_connection(monkeypatch, "smtp_x", conn_type="smtp", **connection)
    assert settings.sender_identity("smtp_x").domain == domain


@pytest.mark.parametrize("site", ["", "nonsense", "http://[x", "https://x y/", "https://a..b/"])
def test_message_id_domain_without_any(monkeypatch: pytest.MonkeyPatch, hostname: str, site: str) -> None:
    """Without a sender's connection and a site, a Message-ID has this host's name."""
    set_variable(monkeypatch, "notify_base_url", site)
    assert settings.sender_identity("smtp_nowhere").domain == hostname


@pytest.mark.parametrize(
    ("extra", "name"),
    [({"from_name": " Mills & Sons "}, "Mills & Sons"), ({"from_name": " "}, None), ({}, None), ("nonsense", None)],
)
def test_sender_name(monkeypatch: pytest.MonkeyPatch, extra: object, name: str | None) -> None:
    """The name that heads the house template is the sender's, and none where its connection has none."""
    set_connection(monkeypatch, "smtp_x", conn_type="smtp", extra=extra)
    assert settings.sender_identity("smtp_x").name == name


@pytest.mark.parametrize(
    ("extra", "site"), [({"site": " Brno "}, "Brno"), ({"site": " "}, None), ({}, None), ("nonsense", None)]
)
def test_sender_site(monkeypatch: pytest.MonkeyPatch, extra: object, site: str | None) -> None:
    """A sender belongs to the site in its connection's extras, and to none where there is none."""
    set_connection(monkeypatch, "smtp_x", conn_type="smtp", extra=extra)
    assert settings.sender_identity("smtp_x").site == site
    assert settings.sites(["smtp_x", "smtp_nowhere"]) == ({"smtp_x": site} if site else {})


# --- Hand-over -------------------------------------------------------------------------------------------------------


def test_templates_beside_the_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Templates lie in include/templates of the checkout unless the environment names another place."""
    assert (settings.templates_root() / "house").is_dir()
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(tmp_path))
    assert settings.templates_root() == tmp_path


def test_hand_over_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Variable of hand-over finds its place."""
    for name, value in {
        "notify_senders": '["b"]',
        "notify_timezone": "Europe/Bratislava",
        "notify_case_url": "https://cases.example.com/{case_id}?x=1",
        "notify_attachment_sources": '["s3://reports/"]',
        "notify_attachment_store": "s3://mail/",
    }.items():
        set_variable(monkeypatch, name, value)
    made = settings.hand_over_settings()
    assert (made.senders, made.timezone) == (("b",), "Europe/Bratislava")
    assert (made.attachment_sources, made.attachment_store) == (("s3://reports/",), "s3://mail/")
    assert made.url_of_case("INV/1 ä") == "https://cases.example.com/INV%2F1%20%C3%A4?x=1"


def test_sender_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events a run publishes, Airflow is asked once who sends them; the next run asks again."""
    asked = []
    monkeypatch.setattr(settings, "connection", asked.append)
    for run in (1, 2):
        made = settings.hand_over_settings()
        assert made.identity("smtp_default") == made.identity("smtp_default")
        assert len(asked) == run


def test_no_more_senders_are_asked_for_than_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names no site asks Airflow for one connection, however many senders there are; a site, for each once."""
    set_variable(monkeypatch, "notify_senders", '["smtp_a", "smtp_b", "smtp_c"]')
    set_connection(monkeypatch, "smtp_c", conn_type="smtp", extra={"site": "Brno"})
    real, asked = settings.connection, list[str]()
    monkeypatch.setattr(settings, "connection", lambda name: asked.append(name) or real(name))
    made = settings.hand_over_settings()
    assert (made.fault_of_site(None), made.sender_of(ChannelName.EMAIL)) == (None, "smtp_a")
    assert asked == ["smtp_a"]
    assert (made.fault_of_site("Brno"), made.sender_of(ChannelName.EMAIL, "Brno")) == (None, "smtp_c")
    assert sorted(asked) == ["smtp_a", "smtp_b", "smtp_c"]


def test_hand_over_settings_by_default() -> None:
    """Without any Variable, no file may be fetched and no case is linked."""
    made = settings.hand_over_settings()
    assert (made.senders, made.attachment_sources, made.attachment_store) == (("smtp_default",), (), None)
    assert made.url_of_case("1") is None


@pytest.mark.parametrize("value", ["s3://reports/", "{}", "[1]", '["/etc/"]', "[" * 100_000])
def test_attachment_sources_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """What is no list of URI prefixes opens no file; it is an error with an example."""
    set_variable(monkeypatch, "notify_attachment_sources", value)
    with pytest.raises(ConfigurationError, match=r"notify_attachment_sources .* Write, for example"):
        settings.hand_over_settings()


@pytest.mark.parametrize("value", ["erp/case/{case_id}", "javascript:alert(1)", "https://", "https://a b/{case_id}"])
def test_case_url_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A pattern that makes no link is refused with an example: every mail about a case would break at it."""
    set_variable(monkeypatch, "notify_case_url", value)
    with pytest.raises(ConfigurationError, match=r"The Variable notify_case_url .*erp.example.com/case/[{]case_id[}]"):
        settings.hand_over_settings()
