"""`python -m ttl_lightning.export`, another door to `ttl-lightning export`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("export")
