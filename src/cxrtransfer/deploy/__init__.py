"""Hand a trained model over."""
