"""`python -m ttl_lightning.report`, an older name of `ttl-lightning report`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("report")
