"""What Airflow sees of us."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from notify.listeners import hourly_limits


class NotifyPlugin(AirflowPlugin):
    """The notification outbox: its listener today; its page and its API live here as well."""

    name = "notify"
    listeners = [hourly_limits]  # noqa: RUF012 - Airflow's way to declare them
