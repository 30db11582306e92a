"""The worklist page: what there is to read in the folder."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import office
from apps.viewer.page_data import worklist_row
from apps.viewer.state import ViewerSettings, ViewerState
from medseg.core.errors import MedsegError


def worklist_page() -> None:
    """Show the studies of the folder; the chosen one is opened on its page."""
    settings, state = ViewerSettings.current(), ViewerState.current()
    try:
        desk = settings.desk
        rows = [worklist_row(entry, desk.records(entry), settings.user.name) for entry in desk.entries()]
    except MedsegError as error:
        st.error(str(error))
        return
    data = {"rows": rows, "last_read": state.study, "may_add": desk.is_collection, "archives": sorted(desk.archives)}
    opened = office.show("worklist", "office/worklist.js", data)
    if opened is not None:
        state.go(*opened)
