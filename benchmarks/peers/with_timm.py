"""timm's own loaders, optimizer and schedule, put together as its training script does."""

from work import Noted, Work, loop, network


def main() -> None:
    """Train and validate."""
    work, noted = Work.given(), Noted()
    import torch
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    common = {
        "input_size": (3, work.pixels, work.pixels),
        "batch_size": work.batch,
        "interpolation": "bilinear",
        "mean": work.mean,
        "std": work.std,
        "num_workers": work.workers,
        "persistent_workers": work.workers > 0,
        "use_prefetcher": False,  # a GPU's
        "device": torch.device("cpu"),
    }
    train = create_loader(
        create_dataset("", work.folder, split="train"),
        is_training=True,
        scale=(0.6, 1.0),
        ratio=(0.9, 1.1),
        hflip=0.0,
        color_jitter=None,
        **common,
    )
    val = create_loader(create_dataset("", work.folder, split="val"), crop_pct=1.0, **common)
    model = network(work)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=work.rate, weight_decay=0.01)
    scheduler, _ = create_scheduler_v2(
        optimizer, "cosine", num_epochs=work.epochs, warmup_epochs=0, step_on_epochs=False,
        updates_per_epoch=len(train),
    )  # fmt: skip

    class Updates:
        """Counts, as the script's loop does."""

        done = 0

        def step(self) -> None:
            """After an update."""
            self.done += 1
            scheduler.step_update(self.done)

    loop(work, model, (train, val), optimizer, Updates(), noted)
    noted.say()


if __name__ == "__main__":
    main()
