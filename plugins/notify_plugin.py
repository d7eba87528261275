"""Airflow's entry: the one file of the plugins folder that Airflow's loader runs (see .airflowignore)."""

from __future__ import annotations

from notify.plugin import NotifyPlugin

__all__ = ["NotifyPlugin"]
