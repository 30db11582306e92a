"""The pages around reading: jobs, models, how reviewing goes, and the log."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import office
from apps.viewer.dashboard import dashboard_numbers
from apps.viewer.state import ViewerSettings
from medseg.core.errors import MedsegError


def jobs_page() -> None:
    """Show what was asked for, and how far it is."""
    office.show("jobs", "office/jobs.js", {})


def models_page() -> None:
    """Show the models that can be run here."""
    office.show("models", "office/models.js", {})


def dashboard_page() -> None:
    """Show how reviewing goes."""
    try:
        numbers = dashboard_numbers(ViewerSettings.current().desk)
    except MedsegError as error:
        st.error(str(error))
        return
    office.show("dashboard", "office/dashboard.js", {"numbers": numbers})


def log_page() -> None:
    """Show who did what, to those who may see it: the route of the log asks for the right."""
    office.show("log", "office/log.js", {})
