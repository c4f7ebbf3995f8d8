"""`python -m ttl_lightning.evaluate`, as `ttl-lightning evaluate`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("evaluate")
