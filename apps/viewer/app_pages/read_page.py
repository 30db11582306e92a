"""The reading page: one study in the reading room, or a sentence why it cannot be shown."""

from __future__ import annotations

import streamlit as st

from apps.viewer.components import reading_room
from apps.viewer.page_data import predicted_dice, study_data
from apps.viewer.readings_data import blindness, other_masks, readings_told
from apps.viewer.second_reading import read_study
from apps.viewer.state import ViewerSettings, ViewerState
from medseg.core.errors import MedsegError, StoreError


def read_page() -> None:
    """Show the study that the address names."""
    settings, state = ViewerSettings.current(), ViewerState.current()
    study = st.query_params.get("study", state.study)
    if study is None:
        state.destination = "worklist"
        return
    state.study = study
    try:
        with st.spinner("Opening the study"):
            on_screen = settings.desk.open(study, settings.user.name)
        marks = settings.desk.marks.find(on_screen.opened.source_sha256, settings.user.name)
        warnings = blindness(settings.desk, on_screen, settings.user.name)
        try:
            others_marks = settings.desk.others_marks(on_screen, settings.user.name)
        except StoreError as error:  # of any study: this one can be read all the same
            others_marks, warnings = (), [*warnings, f"What others measured is not shown: {error}"]
        settings.note_view(on_screen.opened.entry, state, is_blind=on_screen.is_second_reading)
    except MedsegError as error:
        st.error(f"This study cannot be shown: {error}")
        if st.button("Back to the worklist"):
            state.destination = "worklist"
        return
    told = study_data(on_screen, marks, others_marks)
    told["others"] = other_masks(on_screen, settings.desk.others_of(on_screen))
    told["warnings"] = [*warnings, *told["warnings"]]
    told["readings"] = readings_told(on_screen, settings.user.name)
    told["predicted"] = predicted_dice(on_screen)
    told["has_uncertainty"] = bool(settings.desk.probabilities_of(on_screen.opened.entry))
    answer = reading_room.show({"study": told, **settings.told(study)}, key="reading_room")
    if answer.leave:
        state.destination = "worklist"
    elif answer.next:
        state.study = settings.desk.next_undecided(read_study(study))
        state.destination = "read" if state.study is not None else "worklist"
