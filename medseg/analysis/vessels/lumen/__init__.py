"""How wide the open lumen is along each branch: levels, sections, the fit under the blur, calcium, clots."""
