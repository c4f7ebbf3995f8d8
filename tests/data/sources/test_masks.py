"""Images and masks in folders and tables, as people lay them out, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.data.making import data_of
from ttl_lightning.data.samples import IGNORED
from ttl_lightning.data.sources.lungs import LungsSource
from ttl_lightning.data.sources.masks import Masks3dSource, MasksSource
from ttl_lightning.data.sources.pairs import owner
from ttl_lightning.errors import ConfigError, DataError

LUNGS = Path(__file__).parents[4] / "shared/data/lungs"
PLAIN: dict[str, Any] = {
    "masks": True, "image_size": 32, "in_channels": 1, "mean": [0.0], "std": [1.0],
    "batch_size": 4, "eval_view": "whole",
}  # fmt: skip


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def square(number: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((40, 30), np.uint8)
    mask[5 + number : 15 + number, 8:20] = value
    return mask


def grey(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (40, 30), np.uint8)


def folders(root: Path, count: int = 8, name: str = "{}.png", value: int = 255) -> Path:
    for n in range(count):
        save(root / f"images/{n}.png", grey(n))
        save(root / "masks" / name.format(n), square(n, value))
    return root


def ready(path: Path, kind: type = MasksSource, **options: Any):
    data = data_of(kind, path=path, **{**PLAIN, **options})
    data.setup()
    return data


def references(data) -> dict[str, np.ndarray]:
    found = {}
    for split in ("train", "val", "test"):
        names = data.sample_ids(split)
        for batch in data.plain_dataloader(split):
            for number, mask in zip(batch["id"], batch["reference"], strict=True):
                found[names[int(number)]] = mask
    return found


@pytest.mark.parametrize("name", ["{}.png", "{}_mask.png", "{}-left.png"])
def test_two_folders(tmp_path: Path, name: str) -> None:
    data = ready(folders(tmp_path, name=name))
    found = references(data)
    assert sorted(found) == [str(n) for n in range(8)]
    for n in range(8):
        assert np.array_equal(found[str(n)], square(n) > 0)
    assert data.regions == ("background", "foreground")


def test_the_longest_name_is_the_owner() -> None:
    images = dict.fromkeys(("7", "7_1", "70"))
    assert owner("7_1_mask", images) == "7_1"
    assert owner("7_left", images) == "7"
    assert owner("70", images) == "70"
    assert owner("700", images) is None


def test_several_masks_of_an_image_are_joined(tmp_path: Path) -> None:
    folders(tmp_path, name="{}_left.png")
    for n in range(8):
        save(tmp_path / f"masks/{n}_right.png", np.roll(square(n), 10, axis=1))
    found = references(ready(tmp_path))
    assert np.array_equal(found["3"], (square(3) | np.roll(square(3), 10, axis=1)) > 0)


def test_several_folders_are_regions_that_overlap(tmp_path: Path) -> None:
    for n in range(8):
        save(tmp_path / f"images/{n}.png", grey(n))
        save(tmp_path / f"left/{n}.png", square(n))
        save(tmp_path / f"right/{n}.png", np.roll(square(n), 3, axis=1))
    data = ready(tmp_path, mask_folder=["left", "right"])
    assert (data.regions, data.overlap) == (("left", "right"), True)
    mask = references(data)["5"]
    assert np.array_equal(mask[1], np.roll(square(5), 3, axis=1) > 0)


def test_values_and_colours(tmp_path: Path) -> None:
    for n in range(8):
        save(tmp_path / f"images/{n}.png", grey(n))
        mask = square(n, 7)
        mask[:2], mask[-1] = 3, IGNORED
        save(tmp_path / f"grey/{n}.png", mask)
        colours = np.zeros((40, 30, 3), np.uint8)
        colours[mask == 7], colours[mask == 3] = (255, 0, 0), (9, 9, 9)
        save(tmp_path / f"colour/{n}.png", colours)
    data = ready(tmp_path, mask_folder="grey", regions={"edge": 3, "square": 7})
    assert data.regions == ("background", "edge", "square")
    mask = references(data)["4"]
    assert np.array_equal(mask == 2, square(4, 7) > 0)
    assert (mask[:2] == 1).all()
    assert (mask[-1] == IGNORED).all()
    data = ready(tmp_path, mask_folder="colour", regions={"edge": 9, "square": [255, 0, 0]})
    assert np.array_equal(references(data)["4"][:-1], mask[:-1])


def test_a_table(tmp_path: Path) -> None:
    folders(tmp_path)
    rows = ["image,mask,patient_id,split"]
    for n in range(8):
        split = ("train", "train", "val", "test")[n % 4]
        rows.append(f"images/{n}.png,masks/{n}.png,p{n},{split}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    data = ready(tmp_path / "table.csv")
    assert data.sample_ids("val") == ["images/2.png", "images/6.png"]
    assert np.array_equal(references(data)["images/6.png"], square(6) > 0)


def test_masks_as_arrays_and_nifti(tmp_path: Path) -> None:
    for n in range(8):
        save(tmp_path / f"images/{n}.png", grey(n))
        (tmp_path / "masks").mkdir(exist_ok=True)
        if n % 2:
            np.savez(tmp_path / f"masks/{n}.npz", mask=square(n, 1), other=np.zeros(3))
        else:
            np.savez(tmp_path / f"masks/{n}.npz", square(n, 1))
    found = references(ready(tmp_path))
    assert all(np.array_equal(found[str(n)], square(n) > 0) for n in range(8))


def test_patients_stay_together(tmp_path: Path) -> None:
    folders(tmp_path, 12)
    rows = ["image,mask,patient_id"]
    spelt = ("p{}", "P{}", " p{}")  # one patient however it is written
    rows += [f"images/{n}.png,masks/{n}.png,{spelt[n % 3].format(n // 3)}" for n in range(12)]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    data = ready(tmp_path / "table.csv", val_fraction=0.25, test_fraction=0.25)
    where = [
        {int(name[7:-4]) // 3 for name in data.sample_ids(s)} for s in ("train", "val", "test")
    ]
    assert sum(map(len, where)) == 4


def spoilt(spoil: Callable[[Path], None], root: Path) -> Path:
    folders(root)
    spoil(root)
    return root


@pytest.mark.parametrize(
    ("spoil", "options", "text"),
    [
        (lambda r: save(r / "masks/3.png", square(3)[:-1]), {},
         r"as large as their images, and are not: '3 \(39 × 30 pixels of an image of 40 × 30"),
        (lambda r: (r / "masks/3.png").unlink(), {}, "images have no mask in .*masks: '3'"),
        (lambda r: save(r / "masks/x.png", square(3)), {}, "masks in .*masks have no image: 'x'"),
        (lambda r: save(r / "masks/3.png", np.minimum(square(3), 7) + np.eye(40, 30)), {},
         r"mask .*3\.png.*values beside 0 \(1, 7, 8.*data\.regions=\{left: 1"),
        (lambda r: save(r / "masks/3.png", square(3, 8)), {"regions": {"a": 200}},
         r"3\.png.*the mask has the value 8, which is no region: data\.regions has 0, 200"),
        (lambda r: [save(p, 0 * square(0)) for p in r.glob("masks/*")], {},
         "no training mask marks anything"),
        (lambda r: (r / "masks").rename(r / "labels"), {},
         "no folder 'masks' .*'images', 'labels'"),
        (lambda r: (r / "masks/3.png").write_bytes(b"no picture"), {}, r"3\.png"),
        (lambda r: [p.unlink() for p in r.glob("images/*")], {}, "no images in .*images"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, spoil: Callable[[Path], None], options: dict[str, Any], text: str
) -> None:
    if "regions" in options:
        folders(tmp_path, value=200)
        save(tmp_path / "masks/3.png", square(3, 8))
    else:
        spoilt(spoil, tmp_path)
    with pytest.raises(DataError, match=text) as caught:
        ready(tmp_path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["picture,mask", "images/1.png,masks/1.png"], "has no column 'image'; it has 'picture'"),
        (["image,mask", "images/1.png,masks/9.png"], r"lists files that are not there: .*9\.png"),
        (["image,mask"] + ["images/1.png,masks/1.png"] * 2, "the same image is in two rows"),
        (["image,mask,split", "images/1.png,masks/1.png,tset"], "got 'tset', allowed: train, val"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, rows: list[str], text: str) -> None:
    folders(tmp_path)
    (tmp_path / "table.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=text):
        ready(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("regions", "text"),
    [
        ({"a": 1, "b": 1}, "must have a value of its own for each"),
        ({"a": 0}, "0 is the background"),
        ({"a": "red"}, "a must have a whole number or a colour"),
        ({}, "must have a value of its own"),
    ],
)
def test_regions_that_mean_nothing(tmp_path: Path, regions: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        data_of(MasksSource, path=folders(tmp_path), regions=regions)
    with pytest.raises(ConfigError, match=r"data\.regions goes with one mask folder"):
        data_of(MasksSource, path=tmp_path, mask_folder=["a", "b"], regions={"a": 1})


def test_content_changes_with_files_and_not_with_their_place(tmp_path: Path) -> None:
    one, other = folders(tmp_path / "a"), folders(tmp_path / "b")
    marks = [MasksSource.content({"path": root}) for root in (one, other)]
    assert marks[0] == marks[1]
    save(one / "masks/3.png", np.zeros((400, 300)))
    assert MasksSource.content({"path": one}) != marks[0]


def volumes(root: Path) -> Path:
    for n in range(6):
        z, y, x = np.indices((12 + n % 2, 20, 18))
        ball = ((z - 6) ** 2 + (y - 9) ** 2 + (x - 8) ** 2 < 16) * (1 + (x > 8))
        for folder, values in (("images", ball * 300.0 + n), ("labels", ball.astype(np.int16))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            stored = values.transpose(2, 1, 0)
            image = nibabel.Nifti1Image(stored, np.diag([0.5, 0.7, 3.0, 1]))
            nibabel.save(image, root / folder / f"v{n}.nii.gz")
    return root


def test_volumes_and_their_masks(tmp_path: Path) -> None:
    options = {**PLAIN, "image_size": (8, 24, 24), "cache_dir": tmp_path / "cache"}
    data = data_of(
        Masks3dSource, path=volumes(tmp_path), mask_folder="labels",
        regions={"right": 1, "left": 2}, **options,
    )  # fmt: skip
    data.setup()
    batch = next(iter(data.test_dataloader()))
    assert batch["spacing"] == [pytest.approx((3.0, 0.7, 0.5))]
    assert set(np.unique(batch["reference"][0])) == {0, 1, 2}
    train = next(iter(data.train_dataloader()))
    assert train["mask"].shape == (4, 8, 24, 24)
    assert train["image"].shape == (4, 1, 8, 24, 24)


def test_a_volume_has_one_mask(tmp_path: Path) -> None:
    volumes(tmp_path)
    (tmp_path / "labels/v1.nii.gz").rename(tmp_path / "labels/v1_left.nii.gz")
    nibabel.save(
        nibabel.load(tmp_path / "labels/v1_left.nii.gz"), tmp_path / "labels/v1_right.nii.gz"
    )
    data = data_of(
        Masks3dSource, path=tmp_path, mask_folder="labels", **{**PLAIN, "image_size": (8, 24, 24)}
    )
    with pytest.raises(DataError, match="a volume has one mask file, and v1_left"):
        data.setup()


def hospital(root: Path, layout: str) -> Path:
    for n in range(10):
        for start in ("MCUCXR", "CHNCXR"):
            name = f"{start}_{n + 1:04}_{n % 2}"
            mask = square(n)
            if layout == "merged":
                save(root / f"CXR_png/{name}.png", grey(n + 50 * (start > "D")))
                end = "_mask" if start == "CHNCXR" else ""
                save(root / f"masks/{name}{end}.png", mask)
            elif start == "MCUCXR":
                save(root / f"MontgomerySet/CXR_png/{name}.png", grey(n))
                left, right = mask.copy(), mask.copy()
                left[:, :14], right[:, 14:] = 0, 0
                save(root / f"MontgomerySet/ManualMask/leftMask/{name}.png", left)
                save(root / f"MontgomerySet/ManualMask/rightMask/{name}.png", right)
            else:
                save(root / f"ChinaSet_AllFiles/CXR_png/{name}.png", grey(n + 50))
                save(root / f"mask/{name}_mask.png", mask)
    return root


@pytest.mark.parametrize("layout", ["merged", "published"])
def test_lungs_as_published_and_merged(tmp_path: Path, layout: str) -> None:
    root = hospital(tmp_path, layout)
    data = ready(root, LungsSource)
    found = references(data)
    assert len(found) == 20
    for n in range(10):
        for start in ("MCUCXR", "CHNCXR"):
            assert np.array_equal(found[f"{start}_{n + 1:04}_{n % 2}"], square(n) > 0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        names = data.sample_ids(split)
        assert [sum(n.startswith(s) for n in names) for s in ("MCU", "CHN")] == [count, count]
    assert any("10 images of Montgomery County, 10 of Shenzhen" in note for note in data.notes)


def test_lungs_without_a_mask_are_left_out_and_counted(tmp_path: Path) -> None:
    root = hospital(tmp_path, "merged")
    (root / "masks/CHNCXR_0003_0_mask.png").unlink()
    data = ready(root, LungsSource)
    assert "1 images without a mask were left out: 'CHNCXR_0003_0'." in " ".join(data.notes)
    save(root / "masks/CHNCXR_0099_0_mask.png", square(1))
    with pytest.raises(DataError, match=r"masks below .* have no image: 'CHNCXR_0099_0'"):
        ready(root, LungsSource)


def test_masks_with_values_between_are_cut_in_the_middle(tmp_path: Path) -> None:
    root = hospital(tmp_path, "merged")
    soft = square(0).astype(float)
    soft[4], soft[3] = 0.6 * soft[6], 0.4 * soft[6]
    save(root / "masks/MCUCXR_0001_0.png", soft)
    mask = references(ready(root, LungsSource))["MCUCXR_0001_0"]
    assert mask[4].sum() == 12
    assert not mask[3].any()


def test_no_lungs(tmp_path: Path) -> None:
    (tmp_path / "CXR_png").mkdir()
    with pytest.raises(DataError, match=r"no images below .*; expected CXR_png/MCUCXR_0001_0"):
        ready(tmp_path, LungsSource)


@pytest.mark.skipif(not LUNGS.is_dir(), reason="the real X-rays are not there")
def test_real_lungs() -> None:
    data = ready(LUNGS, LungsSource)
    batch = next(iter(data.test_dataloader()))
    for image, mask in zip(batch["image"], batch["mask"], strict=True):
        assert 0.05 < mask.float().mean() < 0.6
        assert image[0][mask == 1].mean() < image[0][mask == 0].mean() + 0.3
    assert any("41 images of Montgomery County, 199 of Shenzhen" in note for note in data.notes)
