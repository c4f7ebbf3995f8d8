"""The configuration, installed as `ttl_lightning.conf`; Hydra wants a package."""
