"""`python -m ttl_lightning.latency`, another door to `ttl-lightning latency`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("latency")
