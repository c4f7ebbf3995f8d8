"""`python -m ttl_lightning.backbones`, a door to `ttl-lightning backbones`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("backbones")
