"""QualityControl: what a bundle knows of how far its results can be trusted; and what it says of one result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities
from medseg.core.volume import Volume
from medseg.models.quality.dice_prediction import DicePredictor, PredictedDice, result_features
from medseg.models.quality.input_gate import InputGate, Side, scan_features


class QualityControl(BaseModel):
    """Fitted on cases that the model did not learn from, named in `fitted_on`; the gate also on those it did.

    `predictor` is None where those cases were too few to say how far a predicted Dice may be off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0)
    predictor: DicePredictor | None
    gate: InputGate
    fitted_on: str

    @property
    def sentence(self) -> str:
        """What it has learned, in figures."""
        predicts = "too few held-out cases to predict a Dice"
        if self.predictor is not None:
            known = self.predictor
            predicts = f"predicted Dice within {known.half_width:.3f} in {known.coverage:.0%} of {known.cases} cases"
        return f"temperature {self.temperature:.2f}; {predicts}; the gate knows {self.gate.scans} scans"


class ResultQuality(BaseModel):
    """What is thought of one result: its predicted Dice, and how far its scan is from those learned from (far: 1).

    `predicted` is None where the model's quality control cannot predict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predicted: PredictedDice | None
    distances: dict[Side, float]
    warnings: tuple[str, ...]


def control(
    quality: QualityControl, volume: Volume, label_map: LabelMap, probabilities: Probabilities
) -> ResultQuality:
    """The quality of a result from its first channel, its mask, and the probabilities as the network gave them."""
    distances = quality.gate.distances(scan_features(volume))
    warnings = quality.gate.warnings(distances)
    if quality.predictor is None:
        return ResultQuality(predicted=None, distances=distances, warnings=warnings)
    predicted = quality.predictor.predict(result_features(volume, label_map, probabilities))
    if predicted.dice < quality.predictor.poor:
        low, high = predicted.interval
        poor = (
            f"this result is predicted to be poor: Dice {predicted.dice:.2f} ({predicted.coverage:.0%} interval "
            f"{low:.2f} to {high:.2f}), below nine in ten of the cases it was checked on"
        )
        warnings = (*warnings, poor)
    return ResultQuality(predicted=predicted, distances=distances, warnings=warnings)
