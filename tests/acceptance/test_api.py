"""The API of a running Airflow, as a program uses it: Airflow's token, calls over HTTP, the mails that come of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import chain
from typing import Any

import httpx
import pytest

from dev.stack import Stack
from tests.acceptance.observing import Mailbox, query, run, text_of
from tests.web_client import API

pytestmark = pytest.mark.usefixtures("empty")

#: As many as one call may have.
MANY = 1000


@pytest.fixture
def anybody(stack: Stack) -> Iterator[httpx.Client]:
    """A program without a token."""
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def token(stack: Stack, anybody: httpx.Client) -> str:
    """What Airflow gives a program that says who it is."""
    answer = anybody.post("/auth/token", json={"username": "admin", "password": stack.password})
    return str(answer.json()["access_token"])


@pytest.fixture
def program(anybody: httpx.Client, token: str) -> httpx.Client:
    """A program with that token."""
    anybody.headers["Authorization"] = f"Bearer {token}"
    return anybody


@pytest.fixture
def mailbox(stack: Stack) -> Iterator[Mailbox]:
    """What arrives during the test."""
    found = Mailbox(stack)
    yield found
    found.throw_away()


def letters(count: int) -> list[dict[str, str]]:
    """Different messages to different readers."""
    return [
        {"recipient": f"reader{one}@example.com", "subject": f"Letter {one}", "message": f"You are reader {one}."}
        for one in range(count)
    ]


def pages(program: httpx.Client, address: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of the register, each found by the link in the one before."""
    following: str | None = address
    while following:
        answer = program.get(following).raise_for_status().json()
        yield answer["messages"]
        following = answer["next"]


def stored(stack: Stack) -> int:
    """How many messages are in the outbox."""
    ((count,),) = query(stack, "select count(*) from notify.messages")
    return int(count)


def test_a_thousand_messages_in_one_call(stack: Stack, program: httpx.Client, mailbox: Mailbox) -> None:
    """A thousand different messages come in one call, and again in the same one; each arrives once, and is found."""
    wanted = letters(MANY)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, again = (program.post(f"{API}/messages/batch", json={"messages": wanted}, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert stored(stack) == MANY
    answers = list(chain.from_iterable(one["messages"] for one in first.json()["handed_over"]))

    assert run(stack, "Notifications", "smtp_default")["accepted"] == MANY
    arrived = {mail.message_id: mail for mail in mailbox.mails()}
    assert len(mailbox.mails()) == len(arrived) == MANY
    for letter, answer in zip(wanted, answers, strict=True):
        mail = arrived[answer["message_id"]]
        assert (mail.recipients, mail.subject) == ((letter["recipient"],), letter["subject"])
        assert letter["message"] in text_of(mail)

    found = pages(program, f"{API}/messages?limit=400")
    newest = next(found)
    program.post(f"{API}/messages", json=letters(1)[0]).raise_for_status()  # what comes meanwhile moves no page
    listed = [newest, *found]
    assert [len(page) for page in listed] == [400, 400, 200]
    told = [(one["id"], one["status"]) for one in chain.from_iterable(listed)]
    assert told == [(number, "sent") for number in sorted((one["id"] for one in answers), reverse=True)]


@pytest.mark.parametrize(
    ("scheme", "status"), [(None, 401), ("Basic", 401), ("Bearer", 403)], ids=["none", "another scheme", "forged"]
)
def test_without_a_token_of_airflows_nothing_is_taken(
    stack: Stack, anybody: httpx.Client, token: str, scheme: str | None, status: int
) -> None:
    """Nobody hands over without a token, nor with one whose signature is not Airflow's."""
    said, _, _ = token.rpartition(".")
    headers = {"Authorization": f"{scheme} {said}.{'A' * 86}"} if scheme else {}
    answer = anybody.post(f"{API}/messages/batch", json={"messages": letters(1)}, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert anybody.get(f"{API}/messages", headers=headers).status_code == status
    assert stored(stack) == 0


def test_a_fault_in_a_batch_names_its_field(stack: Stack, program: httpx.Client) -> None:
    """One message of many cannot be taken: the answer names it and its field, and none is stored."""
    wanted = letters(20)
    wanted[17]["recipient"] = "no address at all"
    answer = program.post(f"{API}/messages/batch", json={"messages": wanted})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [one["field"] for one in answer.json()["errors"]] == ["messages[17].recipient"]
    assert stored(stack) == 0
