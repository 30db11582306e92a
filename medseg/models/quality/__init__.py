"""How far a result can be trusted: predicted Dice, calibrated probabilities, scans unlike those learned from."""
