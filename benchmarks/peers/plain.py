"""Plain PyTorch with torchvision's transforms, as a tutorial has it."""

from work import Noted, Work, loop, network


def main() -> None:
    """Train and validate."""
    work, noted = Work.given(), Noted()
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    end = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(work.mean), list(work.std)),
    ]
    varied = v2.Compose([
        v2.RandomResizedCrop(work.pixels, scale=(0.6, 1.0), ratio=(0.9, 1.1)),
        v2.RandomRotation(7),
        *end,
    ])  # fmt: skip
    as_it_is = v2.Compose([v2.Resize((work.pixels, work.pixels)), *end])

    def loader(split: str, transform, *, train: bool):  # noqa: ANN001, ANN202
        return DataLoader(
            ImageFolder(f"{work.folder}/{split}", transform),
            batch_size=work.batch,
            shuffle=train,
            num_workers=work.workers,
            persistent_workers=work.workers > 0,
        )

    train, val = loader("train", varied, train=True), loader("val", as_it_is, train=False)
    model = network(work)
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, work.rate, total_steps=work.epochs * len(train)
    )
    loop(work, model, (train, val), optimizer, schedule, noted)
    noted.say()


if __name__ == "__main__":
    main()
