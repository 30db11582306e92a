"""Facts of made data sets, for tests of the rules."""

from medseg.training.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from medseg.training.planning.label_facts import NOTHING, LabelFacts

MR = ChannelFacts(name="MR", unit="arbitrary", mean=5, sd=2, percentile_00_5=1, percentile_99_5=9)

BLOB = LabelFacts(
    volume_ml=2.0,
    component_count=1,
    component_ml=(2.0, 2.0, 2.0),
    typical_component_ml=2.0,
    tubularity=0.1,
    planarity=0.1,
    tube_radius_mm=4.0,
)
TUBE = BLOB.model_copy(update={"tubularity": 0.6, "planarity": 0.14, "tube_radius_mm": 1.5})
TINY = BLOB.model_copy(update={"typical_component_ml": 0.05, "component_ml": (0.01, 0.05, 0.1)})

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


def case_facts(
    shape: Shape = (35, 51, 36),
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    labels: tuple[LabelFacts, ...] = (BLOB, BLOB),
    name: str = "a",
) -> CaseFacts:
    """A case whose labels fill its middle fifth along each axis."""
    box = tuple(2 * n // 5 for n in shape), tuple(3 * n // 5 for n in shape)
    return CaseFacts(
        name=name,
        subject=name,
        shape=shape,
        spacing_mm=spacing_mm,
        foreground_box=None if all(label == NOTHING for label in labels) else box,
        labels=labels,
    )


def fingerprint_of(*cases: CaseFacts, channel: ChannelFacts = MR) -> Fingerprint:
    return Fingerprint(cases=cases, channels=(channel,))
