"""`python -m ttl_lightning.predict`, as `ttl-lightning predict`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main("predict")
