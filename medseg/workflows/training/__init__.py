"""From a data set to a trained model: plan, forecast, train, cross-validate."""
