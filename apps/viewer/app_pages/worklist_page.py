"""The worklist page: what there is to read in the folder."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import worklist
from apps.viewer.page_data import worklist_row
from apps.viewer.state import ViewerSettings, ViewerState
from medseg.core.errors import MedsegError


def worklist_page() -> None:
    """Show the studies of the folder; the chosen one is opened on the reading page."""
    settings, state = ViewerSettings.current(), ViewerState.current()
    try:
        desk = settings.desk
        rows = [worklist_row(entry, desk.records(entry)) for entry in desk.entries()]
    except MedsegError as error:
        st.error(str(error))
        return
    chosen = worklist.show(rows, last_read=state.study, key="worklist")
    if chosen is not None:
        state.study = chosen
        state.destination = "read"
