"""MONAI's transforms with what is not random kept in memory (CacheDataset), as its tutorials do."""

from math import radians

from work import Noted, Work, loop, network


def main() -> None:
    """Train and validate."""
    work, noted = Work.given(), Noted()
    import torch
    from monai.data import CacheDataset, DataLoader
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        LoadImaged,
        NormalizeIntensityd,
        RandRotated,
        RandZoomd,
        RepeatChanneld,
        Resized,
        ScaleIntensityRanged,
    )
    from monai.utils import set_determinism

    set_determinism(0)
    key = ["image"]
    side = (work.pixels, work.pixels)
    still = [
        LoadImaged(key, image_only=True, reader="PILReader"),
        EnsureChannelFirstd(key, channel_dim="no_channel"),
        Resized(key, side),
        ScaleIntensityRanged(key, 0, 255, 0, 1),
        RepeatChanneld(key, 3),
        NormalizeIntensityd(key, list(work.mean), list(work.std), channel_wise=True),
    ]
    varied = [
        RandRotated(key, range_x=radians(7), prob=1.0, padding_mode="zeros"),
        RandZoomd(key, min_zoom=1.0, max_zoom=1.29, prob=1.0),
    ]

    def loader(split: str, transforms: list, *, train: bool) -> DataLoader:
        items = [{"image": file, "label": label} for file, label in work.files(split)]
        return DataLoader(
            CacheDataset(items, Compose(transforms), progress=False, num_workers=None),
            batch_size=work.batch,
            shuffle=train,
            num_workers=work.workers,
            persistent_workers=work.workers > 0,
        )

    train, val = loader("train", still + varied, train=True), loader("val", still, train=False)
    model = network(work)
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, work.rate, total_steps=work.epochs * len(train)
    )

    def unpack(batch):  # noqa: ANN001, ANN202
        return batch["image"].as_tensor(), batch["label"]

    loop(work, model, (train, val), optimizer, schedule, noted, unpack)
    noted.say()


if __name__ == "__main__":
    main()
