"""`python -m ttl_lightning.paper`, another door to `ttl-lightning paper`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("paper")
