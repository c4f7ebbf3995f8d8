"""`python -m ttl_lightning.complexity`, an older name of `ttl-lightning cost`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("cost")
