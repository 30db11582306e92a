"""Where a training's curves and scores are sent besides its run folder: TensorBoard, or MLflow."""
