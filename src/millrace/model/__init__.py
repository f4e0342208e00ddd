"""Models: features and fitting on a sample, evaluation on a holdout, promotion, registry, compression and scoring."""
