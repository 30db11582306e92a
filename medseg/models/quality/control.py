"""QualityControl: what a bundle knows of how far its results can be trusted; and what it says of one result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities
from medseg.core.volume import Volume
from medseg.models.quality.dice_prediction import DicePredictor, PredictedDice, result_features
from medseg.models.quality.input_gate import InputGate, Side, scan_features


class QualityControl(BaseModel):
    """Fitted on cases that the model did not learn from, named in `fitted_on`; the gate also on those it did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0)
    predictor: DicePredictor
    gate: InputGate
    fitted_on: str


class ResultQuality(BaseModel):
    """What is thought of one result: its predicted Dice, and how far its scan is from those learned from (far: 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    predicted: PredictedDice
    distances: dict[Side, float]
    warnings: tuple[str, ...]


def control(
    quality: QualityControl, volume: Volume, label_map: LabelMap, probabilities: Probabilities
) -> ResultQuality:
    """The quality of a result from its first channel, its mask, and the probabilities as the network gave them."""
    predicted = quality.predictor.predict(result_features(volume, label_map, probabilities))
    distances = quality.gate.distances(scan_features(volume))
    warnings = list(quality.gate.warnings(distances))
    if predicted.dice < quality.predictor.poor:
        low, high = predicted.interval
        warnings.append(
            f"this result is predicted to be poor: Dice {predicted.dice:.2f} ({predicted.coverage:.0%} interval "
            f"{low:.2f} to {high:.2f}), below nine in ten of the cases it was checked on"
        )
    return ResultQuality(predicted=predicted, distances=distances, warnings=tuple(warnings))
