"""`python -m ttl_lightning.analyze`, an older name of `ttl-lightning analyze`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("analyze")
