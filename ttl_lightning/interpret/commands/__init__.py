"""What a run has learnt: `ttl-lightning analyze KIND run=FOLDER`, a file a kind."""
