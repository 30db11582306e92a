"""The vessel page: a branch unrolled over its diameters, sections across it, and the list of blockages."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import office
from apps.viewer.state import ViewerSettings, ViewerState
from apps.viewer.vessel_data import vessel_data
from medseg.core.errors import MedsegError


def vessels_page() -> None:
    """Show the vessels that the address names."""
    settings, state = ViewerSettings.current(), ViewerState.current()
    study = st.query_params.get("study", state.study)
    if study is None:
        state.destination = "worklist"
        return
    state.study = study
    try:
        entry = settings.desk.entry(study)
        vessels = settings.desk.vessels(study)
        settings.note_view(entry, state)
    except MedsegError as error:
        st.error(f"These vessels cannot be shown: {error}")
        if st.button("Back to the worklist"):
            state.destination = "worklist"
        return
    office.show(
        "vessels", "vessels/vessels.js", {"vessels": vessel_data(entry, vessels)}, {study: settings.permit(study)}
    )
