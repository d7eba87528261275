"""MassMailing: a task makes the messages of campaigns, and has them follow what their campaigns were told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.engine import Engine

    from notify.campaigns.following import Followed
    from notify.campaigns.generating import GeneratingResult

log = logging.getLogger(__name__)


class MassMailingOperator(RunOperator):
    """Make the messages of campaigns that wait for it, then have all messages go where their campaigns want them.

    Messages that wait for the latter do so too where none could be made. The task fails where the messages of a
    campaign could not be made, after all that could be done was; the error names each campaign and the cause.
    """

    ui_color = "#fce7f3"

    def execute(self, context: Context) -> dict[str, Any]:
        """Make, and follow.

        :returns: ``{"generated": [of each campaign what was done, see
            :class:`notify.campaigns.generating.GeneratingResult`], "followed": [{"campaign", "moved", "settled",
            "status"}, …]}``
        :raises RestoredCopy: the outbox is one; nothing was made or moved
        :raises GeneratingFailed: the messages of a campaign could not be made
        """
        from notify import settings
        from notify.campaigns.following import follow_all
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        generated: list[GeneratingResult] = []
        with refusals_told(), polite_interrupt(self._stop):
            engine = engine_for(settings.database_url())
            require_original(engine)  # a query may ask a database that belongs to the original
            try:
                generated = self._generate(engine)
            finally:
                followed = follow_all(engine, stop=self._stop)
                _tell(generated, followed)
            done = {"generated": [asdict(one) for one in generated], "followed": _listed(followed)}
            _require_all_made(context, generated, done)
        return done

    def _generate(self, engine: Engine) -> list[GeneratingResult]:
        from notify import settings
        from notify.campaigns.generating import Generating

        return Generating(engine, settings.hand_over_settings(), stop=self._stop).run()


def _listed(followed: Mapping[int, Followed]) -> list[dict[str, Any]]:
    return [
        {"campaign": number, "moved": one.moved, "settled": one.settled, "status": one.status.value}
        for number, one in followed.items()
    ]


def _tell(generated: Sequence[GeneratingResult], followed: Mapping[int, Followed]) -> None:
    for number, one in followed.items():
        rest = "" if one.settled else "; the next run goes on"
        log.info("campaign %s is %s, %s messages moved%s", number, one.status, one.moved, rest)
    if not generated and not followed:
        log.info("no campaign waits")


def _require_all_made(context: Context, generated: Sequence[GeneratingResult], done: dict[str, Any]) -> None:
    """Fail where one could not be made; a task that fails leaves its XCom only if it does so itself."""
    from notify.domain.campaign import CampaignStatus
    from notify.exceptions import GeneratingFailed

    failed = [one for one in generated if one.fault and one.status == CampaignStatus.DRAFT]
    if failed:
        context["ti"].xcom_push("return_value", done)
        told = "".join(f"\n  * campaign {one.campaign}: {one.fault}" for one in failed)
        raise GeneratingFailed(
            f"The messages of {len(failed)} campaigns could not be made; each is a draft again.{told}\nMend it there, "
            "and generate it again."
        )
