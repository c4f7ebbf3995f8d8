"""`python -m ttl_lightning`, which is `ttl-lightning`."""

from ttl_lightning.cli.main import main

if __name__ == "__main__":
    main()
