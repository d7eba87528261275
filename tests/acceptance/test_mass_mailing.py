"""Mass mailing in a real Airflow: ordered by the form of MassMailing, sent by Notifications to the mail catcher."""

from __future__ import annotations

import pytest

from dev.stack import MAIL_SENDER, Stack
from tests.acceptance.observing import Mailbox, clear, in_a_shell, query, run
from tests.mailing import csv_of

pytestmark = pytest.mark.usefixtures("empty")

FORM = {"description": "Spring sale", "subject": "Hello {{ first_name }}", "message": "Dear {{ first_name }}, come."}


def order(stack: Stack, **fields: object) -> tuple[str, dict[str, object]]:
    """Trigger MassMailing with its form filled in: the run, and what it says of the campaign that was ordered."""
    run_id = stack.run("MassMailing", {**FORM, **fields})
    return run_id, stack.xcom("MassMailing", run_id, "order")


def test_from_the_form_to_the_mailbox(stack: Stack) -> None:
    """One run orders, makes and lets go; each of 20 gets their own mail once, and the next run says that it is done."""
    mailbox = Mailbox(stack)
    run_id, ordered = order(stack, csv=csv_of(20), recipients=["r1@example.com"], send=True)
    number = ordered["campaign"]
    assert ordered == {"campaign": number, "status": "generating", "duplicate": False}
    told = stack.xcom("MassMailing", run_id, "MassMailing")
    [made] = told["generated"]
    assert (made["campaign"], made["rows"], made["created"], made["status"]) == (number, 21, 19, "sending")
    assert (made["doubled"], made["left_out"]) == (1, {"incomplete": 1})
    assert told["followed"] == [{"campaign": number, "moved": 19, "settled": True, "status": "sending"}]

    assert run(stack, "Notifications", MAIL_SENDER)["accepted"] == 19
    later = stack.run("MassMailing")
    assert {task["task_id"]: task["state"] for task in stack.client.tasks("MassMailing", later)} == {
        "order": "skipped",
        "MassMailing": "success",
    }
    told = stack.xcom("MassMailing", later, "MassMailing")
    assert told == {"generated": [], "followed": [{"campaign": number, "moved": 0, "settled": True, "status": "done"}]}
    assert mailbox.letters() == sorted((f"r{one}@example.com", f"Hello Name{one}") for one in range(2, 21))
    assert "Dear Name7, come." in mailbox.texts("r7@example.com")[0]
    assert f"Campaign {number}: Spring sale\nState     done" in in_a_shell(
        stack.home, f"python -m notify campaigns show {number}"
    )


def test_a_cleared_run_orders_nothing(stack: Stack) -> None:
    """A run that is cleared and runs again mails nobody twice; without *Send*, its messages are held."""
    run_id, ordered = order(stack, csv=csv_of(3))
    clear(stack, "MassMailing", run_id)
    assert stack.xcom("MassMailing", run_id, "order") == {**ordered, "status": "generated", "duplicate": True}
    assert query(stack, "select status, count(*) from notify.messages group by 1") == [("held", 3)]
