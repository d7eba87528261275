"""Campaigns whose recipients a database has, and that database does not answer, or no more."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from sqlalchemy.engine import URL, Engine

from notify.campaigns import steering
from notify.settings import HandOverSettings
from tests.connections import postgres_connection
from tests.mailing import Mailing, csv_of

SHOP = "shop"


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns, and may ask the shop's database."""
    return Mailing(engine, replace(hand_over_settings, campaign_connections=frozenset({SHOP})))


def ordered(mailing: Mailing, query: str) -> int:
    number = mailing.write(query_connection=SHOP, query=query)
    with mailing.engine.begin() as connection:
        steering.generate(connection, number)
    return number


def test_a_database_that_is_down(mailing: Mailing, database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign whose database cannot be reached is a draft that says so, and keeps no other from being made."""
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        nowhere = database.set(host="127.0.0.1", port=nobody.getsockname()[1], query={})
        monkeypatch.setenv(f"AIRFLOW_CONN_{SHOP.upper()}", postgres_connection(nowhere))
        number, other = ordered(mailing, "select 'r1@example.com' as email"), mailing.write(csv=csv_of(2))
        with mailing.engine.begin() as connection:
            steering.generate(connection, other)
        results = {one.campaign: one for one in mailing.generate_what_waits()}
    assert results[number].status == "draft"
    assert f"connection {SHOP} cannot be reached" in (mailing.read(number).fault or "")
    assert (results[other].status, results[other].created) == ("generated", 2)


def test_a_database_that_goes_away(mailing: Mailing, database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database ends the connection amid its answer, the campaign is a draft that says so."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{SHOP.upper()}", postgres_connection(database))
    gone = "case when n > 1500 then pg_terminate_backend(pg_backend_pid())::text else 'You' end"
    query = f"select 'r' || n || '@example.com' as email, {gone} as first_name from generate_series(1, 3000) n"
    number = ordered(mailing, query)
    [result] = mailing.generate_what_waits()
    assert (result.status, result.created) == ("draft", 1_000)
    assert "broke off" in (mailing.read(number).fault or "")
