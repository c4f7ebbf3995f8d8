from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning import LightningModule, Trainer

from tests.data.making import data_of
from ttl_lightning.data.phantoms.images import generate
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.phantom import PhantomSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """Files in thirds: train, val, test."""

    defaults: ClassVar[dict[str, Any]] = {"image_size": 16}

    name: str = "listed"
    files: tuple[Path, ...] = ()

    def load(self, side: int) -> Samples:
        third = len(self.files) // 3
        return Samples(
            ids=tuple(path.name for path in self.files),
            labels=np.arange(len(self.files)) % 2,
            splits=np.repeat(["train", "val", "test"], third),
            class_names=("a", "b"),
            reader=FileImages(list(self.files)),
        )


listed = partial(data_of, Files)


@pytest.fixture
def files(write_images) -> tuple[Path, ...]:
    return tuple(write_images([f"{i}.png" for i in range(12)]))


def test_what_a_run_asks_for(files) -> None:
    data = listed(files=files, batch_size=3, eval_view="whole")
    data.prepare_data()
    data.setup("fit")
    assert (data.class_names, data.exclusive, data.num_classes) == (("a", "b"), True, 2)
    assert data.sample_ids("val") == ["4.png", "5.png", "6.png", "7.png"]
    assert data.labels("test").tolist() == [0, 1, 0, 1]
    assert (data.bad_images, data.notes) == ([], [])
    batches = list(data.val_dataloader())
    assert [len(batch["id"]) for batch in batches] == [3, 1]
    assert batches[0]["image"].shape == (3, 3, 16, 16)
    assert batches[0]["image"].dtype == torch.float32
    assert torch.cat([batch["id"] for batch in batches]).tolist() == [0, 1, 2, 3]
    data.setup("test")
    assert len(list(data.test_dataloader())) == 2


@pytest.mark.parametrize(
    ("view", "share"), [("train_scale", 0.8100), ("center_crop", (16 / 18) ** 2), ("whole", None)]
)
def test_a_run_says_what_share_of_an_image_evaluation_reads(files, view, share) -> None:
    augment = Augment(crop_scale=(0.81, 0.81), crop_ratio=(1.0, 1.0))
    data = listed(files=files, augment=augment, eval_view=view)
    data.setup()
    data.setup("test")
    said = [note for note in data.notes if note.startswith("Evaluation reads")]
    expected = (
        f"the middle {share:.1%} of each image's area (data.eval_view={view})" if share else ""
    )
    assert said == ([f"Evaluation reads {expected}."] if share else [])


def test_only_test_samples_have_several_views(files) -> None:
    data = listed(files=files, batch_size=8, tta=3)
    data.setup()
    assert data.notes[-1] == "Test predictions are means of 3 views (data.tta)."
    batches = list(data.test_dataloader())
    # as many images at once as without views
    assert [batch["views"].shape for batch in batches] == [(2, 3, 3, 16, 16)] * 2
    assert torch.cat([batch["id"] for batch in batches]).tolist() == [0, 1, 2, 3]
    assert all("image" not in batch for batch in batches)
    others = (data.train_dataloader(), data.val_dataloader(), data.plain_dataloader("test"))
    for loader in others:
        batch = next(iter(loader))
        assert batch["image"].shape == (4, 3, 16, 16)
        assert "views" not in batch
    first = torch.cat([batch["views"][:, 0] for batch in batches])
    assert torch.equal(first, next(iter(others[2]))["image"])


def test_more_views_than_a_batch_holds_come_one_sample_at_a_time(files) -> None:
    data = listed(files=files, batch_size=2, tta=9)
    data.setup()
    assert [len(batch["views"]) for batch in data.test_dataloader()] == [1] * 4


def test_nothing_is_asked_before_setup(files) -> None:
    with pytest.raises(DataError, match=r"data=listed: call setup\(\)"):
        listed(files=files).labels("train")


def test_masks_are_asked_of_a_source_that_has_none(files) -> None:
    data = listed(files=files)
    data.setup()
    with pytest.raises(DataError, match="data=listed has no masks"):
        data.masks("val")


def test_no_image_can_be_read(files) -> None:
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"the train and val and test split is empty"):
        listed(files=files, on_bad_image="skip", max_bad=12).setup()


def test_a_bad_image_is_raised_or_skipped(files) -> None:
    files[1].write_bytes(files[1].read_bytes()[:100])
    files[4].unlink()
    with pytest.raises(DataError, match=r"cannot read image .*1\.png: "):
        listed(files=files).setup()
    data = listed(files=files, on_bad_image="skip", max_bad=2)
    data.setup()
    assert [bad["id"] for bad in data.bad_images] == ["1.png", "4.png"]
    assert "no such file" in data.bad_images[1]["reason"]
    assert data.notes[0] == "2 images that cannot be read were skipped."
    assert data.sample_ids("train") == ["0.png", "2.png", "3.png"]
    assert data.labels("train").tolist() == [0, 0, 1]
    with pytest.raises(DataError, match=r"2 images cannot be read, data.max_bad allows 1"):
        listed(files=files, on_bad_image="skip", max_bad=1).setup()


def test_skipping_the_last_of_a_class_is_an_error(files) -> None:
    for i in (1, 3):
        files[i].write_bytes(b"")
    with pytest.raises(DataError, match="no training sample of class 'b'"):
        listed(files=files, on_bad_image="skip").setup()


def test_an_image_in_two_splits_is_raised_or_dropped(files) -> None:
    files[2].write_bytes(files[9].read_bytes())
    with pytest.raises(DataError, match=r"2\.png \(train\) = 9\.png \(test\)"):
        listed(files=files).setup()
    data = listed(files=files, on_duplicate="drop")
    data.setup()
    assert data.sample_ids("train") == ["0.png", "1.png", "3.png"]
    assert data.sample_ids("test") == ["8.png", "9.png", "10.png", "11.png"]
    assert data.notes[0].startswith("1 images were left out of the split named first")
    assert sum(len(batch["id"]) for batch in data.train_dataloader()) == 3


def test_the_second_epoch_does_not_decode(files, monkeypatch: pytest.MonkeyPatch) -> None:
    for cache in ("memory", "disk", "none"):
        count, order = 0, [-1]
        real = FileImages.read

        def counted(self, row: int, real=real):
            nonlocal count
            count += 1
            return real(self, row)

        with monkeypatch.context() as patch:
            patch.setattr(FileImages, "read", counted)
            data = listed(files=files, cache=cache, cache_dir=files[0].parent / "cache")
            data.setup()
            for epoch in range(2):
                loader = data.train_dataloader()
                loader.sampler.set_epoch(epoch)
                order += torch.cat([batch["id"] for batch in loader]).tolist()
        # the image that was read last is at hand
        anew = sum(one != other for one, other in itertools.pairwise(order))
        assert count == 12 + (anew if cache == "none" else 0), cache


def test_images_do_not_depend_on_cache_workers_or_batch_size(files) -> None:
    seen = []
    for cache, workers, batch_size in (("memory", 0, 4), ("none", 2, 3), ("disk", 0, 2)):
        data = listed(
            files=files,
            cache=cache,
            num_workers=workers,
            batch_size=batch_size,
            cache_dir=files[0].parent / "cache",
            seed=5,
        )
        data.setup()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        images = torch.zeros(4, 3, 16, 16)
        for batch in loader:
            images[batch["id"]] = batch["image"]
        seen.append(images)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


class Recorder(LightningModule):
    """Notes what the trainer feeds it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs: list[torch.Tensor] = []

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.epochs.append(batch["image"][batch["id"].argmin()].clone())
        return self.weight * batch["image"].mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
def test_lightning_moves_the_epoch_on(files, tmp_path: Path) -> None:
    def fit(epochs: int) -> list[torch.Tensor]:
        data, module = listed(files=files, batch_size=4), Recorder()
        Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(module, datamodule=data)
        return module.epochs

    first = fit(3)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    assert all(torch.equal(a, b) for a, b in zip(first, fit(3), strict=True))


def test_loaders_leave_the_global_generator_alone(files) -> None:
    data = listed(files=files)
    data.setup()
    before = torch.get_rng_state()
    list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_datasets_can_go_to_other_processes(files) -> None:
    data = listed(files=files)
    data.setup()
    dataset = data.train_dataloader().dataset
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[0, 1]["image"], dataset[0, 1]["image"])


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std(files, channels: int) -> None:
    mean, std = [0.2] * channels, [0.4] * channels
    plain = listed(files=files, in_channels=channels, mean=[0.0] * channels, std=[1.0] * channels)
    scaled = listed(files=files, in_channels=channels, mean=mean, std=std)
    images = []
    for data in (plain, scaled):
        data.setup()
        images.append(next(iter(data.val_dataloader()))["image"])
    assert images[0].shape[1] == channels
    torch.testing.assert_close((images[0] - 0.2) / 0.4, images[1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"image_size": 4}, "data.image_size must be an integer from 8 to 4096, got 4"),
        ({"image_size": 64.0}, "data.image_size must be an integer"),
        ({"in_channels": 2}, "data.in_channels must be 1 or 3, got 2"),
        ({"batch_size": 0}, "data.batch_size must be an integer from 1 to 65536, got 0"),
        ({"batch_size": "many"}, "data.batch_size must be an integer"),
        ({"num_workers": -1}, "data.num_workers must be an integer from 0"),
        ({"seed": -1}, "data.seed must be an integer from 0"),
        ({"cache": "ram"}, "unknown data.cache 'ram'.* Allowed: auto, memory, disk, none"),
        ({"on_bad_image": "skp"}, "unknown data.on_bad_image 'skp'; did you mean 'skip'"),
        ({"max_bad": -1}, "data.max_bad must be an integer of at least 0, got -1"),
        ({"eval_view": "centre_crop"}, "unknown data.eval_view .*; did you mean 'center_crop'"),
        ({"fit": "padd"}, "unknown data.fit 'padd'; did you mean 'pad'"),
        ({"tta": 0}, "data.tta must be an integer from 1 to 64, got 0"),
        ({"tta": 65}, "data.tta must be an integer from 1 to 64, got 65"),
        ({"on_duplicate": "keep"}, "unknown data.on_duplicate 'keep'"),
        ({"mean": [0.5]}, r"data.mean must have data.in_channels=3 numbers, got \[0.5\]"),
        ({"std": [0.5, 0.5, 0.0]}, "data.std must be a number from"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        listed(**options)


def test_lightning_does_not_copy_a_data_module(files) -> None:
    data = listed(files=files)
    kept = apply_to_collection({"datamodule": data}, torch.Tensor, torch.clone)
    assert kept["datamodule"] is data


def test_training_images_can_be_had_as_evaluation_sees_them() -> None:
    data = data_of(
        PhantomSource,
        train_size=7,
        val_size=4,
        test_size=4,
        image_size=16,
        batch_size=4,
        eval_view="center_crop",
    )
    data.setup()
    batches = list(data.plain_dataloader("train"))
    assert torch.cat([batch["id"] for batch in batches]).tolist() == list(range(7))
    assert (
        torch.cat([batch["label"] for batch in batches]).tolist() == data.labels("train").tolist()
    )
    size = data.augment.stored_size(16)
    stored = generate(7, size, data.source.level, data.source.difficulty, data.source.seed).images
    start = (size - 16) // 2
    grey = (stored[:, None, start : start + 16, start : start + 16] / 255 - 0.5) / 0.5
    images = torch.cat([batch["image"] for batch in batches])
    torch.testing.assert_close(images[:, :1].double(), torch.from_numpy(grey))
    with pytest.raises(UnknownNameError, match="split"):
        data.plain_dataloader("training")
