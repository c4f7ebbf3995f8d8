"""What a run has learnt: `python -m ttl_lightning.analyze KIND run=FOLDER`, a file a kind."""
