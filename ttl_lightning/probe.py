"""`python -m ttl_lightning.probe`, an older name of `ttl-lightning probe`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("probe")
