"""A finished run on files: the numbers that its evaluation found, whatever the source."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import ttl_lightning as ttl
from ttl_lightning.data.inputs import find_inputs, reader_of
from ttl_lightning.errors import ConfigError
from ttl_lightning.runs import predict_file
from ttl_lightning.runs.predict import Seen
from ttl_lightning.runs.predict_file import predict_to

RNG = np.random.default_rng(0)
SHORT = ("trainer.max_epochs=1", "data.batch_size=8", "trainer.accelerator=cpu", "latency=false",
         "strategy=ttl", "cutoff=block2", "backbone=test_resnet",
         "backbone.weights=null")  # fmt: skip


def rows(path: Path, split: str | None = None) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if split in (None, row.get("split"))]


def probabilities(table: list[dict[str, str]]) -> np.ndarray:
    names = [name for name in table[0] if name.startswith("probability/")]
    return np.array([[float(row[name]) for name in names] for row in table])


def image(bright: bool, size: tuple[int, int]) -> Image.Image:
    values = RNG.integers(0, 120, size) + 120 * bright
    return Image.fromarray(values.astype(np.uint8))


def folder_source(root: Path) -> tuple[list[str], Path]:
    for split, count in (("train", 8), ("val", 4), ("test", 5)):
        for bright in (False, True):
            place = root / "data" / split / ("bright" if bright else "dark")
            place.mkdir(parents=True)
            for number in range(count):
                image(bright, (40 + number, 52)).save(place / f"{split}{bright}{number}.png")
    return ["data=folder", f"data.path={root}/data", "data.image_size=32"], root / "data" / "test"


def volume_source(root: Path) -> tuple[list[str], Path]:
    studies, lines = root / "data", ["study,label,split"]
    studies.mkdir()
    for split, count in (("train", 6), ("val", 4), ("test", 4)):
        for number in range(count):
            bright = number % 2
            values = RNG.integers(0, 300, (20, 22, 9 + number)) + 500 * bright
            name = f"{split}{number}"
            nibabel.save(
                nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)), studies / f"{name}.nii.gz"
            )
            lines.append(f"{name},{bright},{split}")
    (studies / "labels.csv").write_text("\n".join(lines) + "\n")
    options = ["data=volumes", f"data.path={studies}", "data.image_size=[4,16,16]",
               "data.cache=none", "protocol=3d", "backbone=resnet3d_10"]  # fmt: skip
    return options, studies


def csv_source(root: Path) -> tuple[list[str], Path]:
    """Of every kind: grey and colour, of 8 and 16 bits, PNG, JPEG and TIFF."""
    lines = ["path,label,split"]
    (root / "data").mkdir()
    for split, count in (("train", 8), ("val", 6), ("test", 8)):
        for number in range(count):
            bright = number % 2 == 0
            name = f"{split}{number}." + ("png", "jpg", "tif", "png")[number % 4]
            picture = image(bright, (40, 38 + number))
            if number % 4 == 1:
                picture = Image.merge("RGB", [picture, picture.rotate(90, expand=False), picture])
            if number % 4 == 3:
                picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 250)
            picture.save(root / "data" / name)
            lines.append(f"{name},{'bright' if bright else 'dark'},{split}")
    (root / "data/table.csv").write_text("\n".join(lines))
    listed = [root / "data" / line.partition(",")[0] for line in lines if line.endswith(",test")]
    given = ["data=csv", f"data.path={root}/data/table.csv", "data.image_size=32", "data.fit=pad"]
    return given, listed


def npz_source(root: Path) -> tuple[list[str], list[np.ndarray]]:
    """Arrays, which are named by their numbers, and more than one view of each."""
    arrays = {}
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        labels = np.arange(count) % 2
        noise = RNG.integers(0, 120, (count, 28, 28))
        arrays[f"{split}_images"] = (noise + 120 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None]
    np.savez(root / "data.npz", **arrays)
    given = ["data=npz", f"data.path={root}/data.npz", "data.image_size=32", "data.tta=3"]
    return given, list(arrays["test_images"])


@pytest.mark.slow
@pytest.mark.parametrize("source", [folder_source, csv_source, npz_source, volume_source])
def test_files_get_the_numbers_of_the_runs_own_test_split(source, tmp_path: Path) -> None:
    overrides, inputs = source(tmp_path)
    ttl.train(overrides=[*SHORT, *overrides], run_dir=tmp_path / "run")
    known = {row["id"]: row for row in rows(tmp_path / "run/predictions.csv", "test")}
    found = ttl.load(tmp_path / "run").predict(inputs)
    by_id = dict(zip(found.ids, found.probabilities, strict=True))
    compared = 0
    for name, row in known.items():
        ours = next(
            p
            for key, p in by_id.items()
            if name == key or f"/{name}".endswith(f"/{Path(key).name}")
        )
        np.testing.assert_allclose(ours, probabilities([row])[0], atol=1e-6)
        compared += 1
    assert compared == len(known) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("source", [folder_source, csv_source, volume_source])
def test_files_are_seen_as_the_training_pipeline_sees_them(source, tmp_path: Path) -> None:
    """Pixel by pixel: what the network is given, of the data module and of files alone."""
    overrides, inputs = source(tmp_path)
    ttl.train(overrides=[*SHORT, *overrides], run_dir=tmp_path / "run")
    run, predictor = ttl.open_run(tmp_path / "run", device="cpu"), ttl.load(tmp_path / "run")
    names = run.data.sample_ids("test")
    given = [inputs] if isinstance(inputs, Path) else inputs
    found = find_inputs([str(one) for one in given], volumes=source is volume_source)
    seen = Seen(predictor, reader_of(found.paths, volumes=source is volume_source), found.ids)
    ours: dict[str, list[np.ndarray]] = {}
    for batch in seen.batches():
        for place, image in zip(batch.get("study", batch["id"]), batch["image"], strict=True):
            ours.setdefault(Path(found.ids[int(seen.rows[place])]).name, []).append(image.numpy())
    compared = 0
    for batch in run.data.test_dataloader():
        for place, image in zip(batch.get("study", batch["id"]), batch["image"], strict=True):
            (own,) = [o for n, o in ours.items() if Path(names[int(place)]).name in (n, n[:5])]
            np.testing.assert_array_equal(image.numpy(), own.pop(0))
            compared += 1
    assert compared >= 4


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for number in range(23):
        image(number % 2 == 0, (30 + number, 33)).save(root / f"{number:02}.png")
    (root / "11.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def job(cut: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(predict_file, "IMAGES_AT_ONCE", 5)
    return [ttl.load(cut)], find_inputs([str(pictures)], volumes=False)


def test_each_file_has_its_row_and_those_that_cannot_be_read_a_reason(job, tmp_path) -> None:
    predictors, inputs = job
    end = predict_to(predictors, inputs, tmp_path / "out.csv")
    table = rows(tmp_path / "out.csv")
    assert (end.done, end.total, end.bad) == (23, 23, 1)
    assert [row["id"] for row in table] == list(inputs.ids)
    assert "cannot identify image file" in table[11]["error"]
    good = [row for row in table if not row["error"]]
    np.testing.assert_allclose(probabilities(good).sum(1), 1, atol=1e-6)
    at = next(iter(predictors[0].operating["thresholds"].values()))
    names = predictors[0].class_names
    said = [names[int(p[1] > at)] for p in probabilities(good)]
    assert [row["predicted"] for row in good] == said


@pytest.mark.parametrize("cut_at", [1, 60, 400, 700, -1, -5])
def test_a_job_that_was_stopped_goes_on_to_the_same_table(job, tmp_path, cut_at: int) -> None:
    predictors, inputs = job
    predict_to(predictors, inputs, tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_bytes()
    predict_to(predictors, inputs, tmp_path / "out.csv")
    (tmp_path / "out.csv").write_bytes(whole[:cut_at])
    predict_to(predictors, inputs, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == whole


def test_what_is_not_seen_of_a_file_is_said(tmp_path: Path) -> None:
    given, inputs = folder_source(tmp_path)
    ttl.train(overrides=[*SHORT, *given, "data.in_channels=1"], run_dir=tmp_path / "run")
    grey = image(True, (40, 40))
    Image.merge("RGB", [grey, grey.rotate(90), grey]).save(inputs / "bright/colour.png")
    Image.merge("RGB", [grey, grey, grey]).save(inputs / "bright/grey.png")
    found = find_inputs([str(inputs)], volumes=False)
    end = predict_to([ttl.load(tmp_path / "run")], found, tmp_path / "out.csv")
    assert end.bad == 0
    (note,) = end.notes
    assert note.startswith("1 of 12 files hold colour (such as bright/colour.png), which was")


def test_a_finished_job_is_not_done_again(job, tmp_path, monkeypatch) -> None:
    predictors, inputs = job
    predict_to(predictors, inputs, tmp_path / "out.csv")
    monkeypatch.setattr(predict_file, "answer", lambda *_: pytest.fail("predicted again"))
    end = predict_to(predictors, inputs, tmp_path / "out.csv")
    assert (end.done, end.bad) == (23, 1)


def test_the_table_of_another_job_is_left_alone(job, tmp_path) -> None:
    predictors, inputs = job
    predict_to(predictors, inputs, tmp_path / "out.csv")
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(ConfigError, match="of other runs or inputs"):
        predict_to(predictors, inputs.part(0, 7), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == before


def test_several_runs_are_averaged(cut: Path, full: Path, pictures: Path) -> None:
    ours, other = ttl.load(cut), ttl.load(full)
    inputs = find_inputs([str(pictures)], volumes=False)
    out = pictures.parent / "mean.csv"
    predict_to([ours, other], inputs, out)
    mean = (ours.predict(pictures).probabilities + other.predict(pictures).probabilities) / 2
    table = [row for row in rows(out) if not row["error"]]
    np.testing.assert_allclose(probabilities(table), mean, atol=1e-8)


def test_arrays_are_as_good_as_files(cut: Path, pictures: Path) -> None:
    predictor = ttl.load(cut)
    arrays = [np.asarray(Image.open(pictures / name)) for name in ("00.png", "05.png")]
    found = predictor.predict(arrays)
    files = predictor.predict([pictures / "00.png", pictures / "05.png"])
    np.testing.assert_allclose(found.probabilities, files.probabilities, atol=1e-7)
    assert found.ids == ("0", "1")
