"""LightningDataModules, one file a source; splits, checks, cache and augmentation are shared."""
