"""The compare page: a study beside an earlier one, scrolled together, with what became of each lesion."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import office
from apps.viewer.page_data import study_data
from apps.viewer.state import ViewerSettings, ViewerState
from medseg.core.errors import MedsegError


def compare_page() -> None:
    """Show the two studies that the address names."""
    settings, state = ViewerSettings.current(), ViewerState.current()
    study, prior = st.query_params.get("study", state.study), st.query_params.get("prior", state.prior)
    if study is None or prior is None:
        state.destination = "worklist"
        return
    state.study, state.prior = study, prior
    try:
        shown = [settings.desk.open(one) for one in (prior, study)]
        for one in shown:
            settings.note_view(one.opened.entry, state)
    except MedsegError as error:
        st.error(f"These studies cannot be compared: {error}")
        if st.button("Back to the worklist"):
            state.destination = "worklist"
        return
    told = [study_data(one) for one in shown]
    permits = {one: settings.permit(one) for one in (study, prior)}
    opened = office.show("compare", "compare/compare.js", {"prior": told[0], "current": told[1]}, permits)
    if opened is not None:
        state.go(*opened)
