"""Choose where a training's curves and scores are sent, before it is started."""

from __future__ import annotations

from medseg.training.tracking.choice import TrackerName, choose_tracking

__all__ = ["TrackerName", "choose_tracking"]
