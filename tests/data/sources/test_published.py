"""Readers of published data sets: on tiny trees of their layouts, and on trees that are wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from tests.data.making import data_of
from tests.data.sources import published_trees as trees
from ttl_lightning.data.readers.bids import projection
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.bimcv import BimcvSource
from ttl_lightning.data.sources.chexpert import HIGH, LOW, OBSERVATIONS, ChexpertSource
from ttl_lightning.data.sources.covid_chestxray import CovidChestXraySource
from ttl_lightning.data.sources.ham10000 import Ham10000Source
from ttl_lightning.data.sources.midog import MidogSource
from ttl_lightning.data.sources.published import PublishedSource
from ttl_lightning.data.sources.rspect import PenetSource, RadfusionSource, RspectSource
from ttl_lightning.errors import TTLError

KINDS: dict[str, tuple[type[PublishedSource], Callable[[Path], Path]]] = {
    "ham10000": (Ham10000Source, trees.ham10000),
    "chexpert": (ChexpertSource, trees.chexpert),
    "covid_chestxray": (CovidChestXraySource, trees.covid_chestxray),
    "bimcv": (BimcvSource, trees.bimcv),
    "midog": (MidogSource, trees.midog),
    "rspect": (RspectSource, trees.rspect),
    "penet": (PenetSource, trees.penet),
    "radfusion": (RadfusionSource, trees.radfusion),
}


def loaded(name: str, root: Path, **options) -> Samples:
    return KINDS[name][0](path=root, **options).load(16)


@pytest.fixture
def tree(request, tmp_path: Path) -> tuple[str, Path]:
    return request.param, KINDS[request.param][1](tmp_path / "data")


@pytest.mark.parametrize("tree", KINDS, indirect=True)
def test_every_set_is_read_whole_and_patients_are_in_one_split(tree) -> None:
    name, root = tree
    volumes = name in ("rspect", "penet", "radfusion")
    size = {"image_size": [4, 16, 16], "min_abnormal_slices": 1} if volumes else {"image_size": 16}
    data = data_of(KINDS[name][0], path=root, cache="none", on_duplicate="drop", **size)
    data.setup("fit")
    assert data.bad_images == []
    people = [set(data.patients(split) or ()) for split in ("train", "val", "test")]
    assert all(people)
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].isfinite().all()


@pytest.mark.parametrize("tree", KINDS, indirect=True)
def test_a_moved_tree_is_the_same_data_and_a_changed_one_is_not(tree, tmp_path) -> None:
    name, root = tree
    kind = KINDS[name][0]
    before = kind.content({"path": root})
    moved = tmp_path / "elsewhere" / root.name
    shutil.copytree(root, moved)
    assert kind.content({"path": moved}) == before
    tables = [p for p in moved.rglob("*") if p.suffix in (".csv", ".json", ".txt", ".tsv")]
    (kind_of,) = [p for p in tables if p.name in (
        "HAM10000_metadata.csv", "train.csv", "metadata.csv", "MIDOG.json", "slice_list.txt",
        "Labels.csv", "sil_reg_covid_posi.tsv")]  # fmt: skip
    text = kind_of.read_text()
    swaps = {"nv,histo": "mel,histo", ",1.0,": ",0.0,", "No Finding": "COVID-19",
             '"category_id": 1': '"category_id": 2', ",1,8,train": ",0,8,train",
             ",1,central": ",0,central",
             "POSITIVO": "NEGATIVO", ",0,1,0": ",0,0,0"}  # fmt: skip
    changed = next(text.replace(old, new, 1) for old, new in swaps.items() if old in text)
    kind_of.write_text(changed)
    assert kind.content({"path": moved}) != before


def test_a_slice_that_is_replaced_is_noticed(tmp_path) -> None:
    root = trees.rspect(tmp_path / "data")
    before = RspectSource.content({"path": root})
    slice_ = next((root / "train/study03").rglob("*.dcm"))
    slice_.write_bytes(slice_.read_bytes() + b"\0\0")
    assert RspectSource.content({"path": root}) != before


WRONG = [
    ("ham10000", lambda r: (r / "HAM10000_metadata.csv").rename(r / "data.csv"),
     r"no HAM10000_metadata\.csv or .* below .*; expected: HAM10000_metadata\.csv, and ISIC_"),
    ("ham10000", lambda r: shutil.rmtree(r / "HAM10000_images_part_2"),
     r"42 of the 84 samples that .* lists have no file .*: 'ISIC_0024307', .* data\.partial=true"),
    ("ham10000", lambda r: _renamed(r / "HAM10000_metadata.csv", "dx,", "diagnosis,"),
     r"unknown column 'dx'.*may be another release's"),
    ("chexpert", lambda r: (r / "valid.csv").unlink(), r"no valid\.csv below"),
    ("chexpert", lambda r: shutil.rmtree(r / "valid"), r"12 of the 36 samples"),
    ("chexpert", lambda r: _renamed(r / "train.csv", "Lung Opacity", "Airspace Opacity"),
     r"unknown column 'Lung Opacity'"),
    ("chexpert", lambda r: _renamed(r / "train.csv", ",-1.0,", ",2.0,"), r"allowed: 1\.0, 0\.0"),
    ("covid_chestxray", lambda r: (r / "metadata.csv").rename(r / "meta.csv"),
     r"no metadata\.csv below .*covid-chestxray-dataset"),
    ("covid_chestxray", lambda r: (r / "images").rename(r / "pictures"), r"have no file below"),
    ("covid_chestxray", lambda r: _renamed(r / "metadata.csv", "patientid", "Patientid2"),
     r"unknown column 'patientid'"),
    ("bimcv", lambda r: shutil.rmtree(r / "covid19_nega"), r"no Labels_covid_NEG_JAN21\.tsv or"),
    ("bimcv", lambda r: [p.rename(p.with_name("rx")) for p in r.rglob("mod-rx")],
     r"no images sub-\*/ses-\*/mod-rx/\*\.png below"),
    ("bimcv", lambda r: _renamed(next(r.rglob("sil_reg*")), "participant", "patient"),
     r"unknown column 'participant'"),
    ("midog", lambda r: (r / "MIDOG.json").rename(r / "boxes.json"), r"no MIDOG\+\+\.json or"),
    ("midog", lambda r: (r / "images/003.tiff").unlink(), r"4 of the 40 samples .*'003/9'"),
    ("midog", lambda r: _coco(r / "MIDOG.json"), r"expected corners \[x1, y1, x2, y2\]"),
    ("rspect", lambda r: (r / "train").rename(r / "studies"), r"have no file below"),
    ("rspect", lambda r: shutil.rmtree(r / "train/study03"), r"1 of the 13 samples .*'study03'"),
    ("rspect", lambda r: _renamed(r / "train.csv", "pe_present_on_image", "pe"),
     r"unknown column 'pe_present_on_image'"),
    ("penet", lambda r: (r / "data.hdf5").unlink(), r"no data\.hdf5 or data\.h5 below"),
    ("penet", lambda r: _renamed(r / "slice_list.txt", "11,1.25", "99,1.25"),
     r"lists studies that .* does not have: '99'"),
    ("penet", lambda r: _renamed(r / "slice_list.txt", ",central", ""),
     r"line 1: expected number, thickness, label"),
    ("radfusion", lambda r: (r / "Labels.csv").unlink(), r"no Labels\.csv or .*RadFusion"),
    ("radfusion", lambda r: shutil.rmtree(r / "3"), r"2 of the 12 samples .*'3', '11'"),
    ("radfusion", lambda r: _renamed(r / "Labels.csv", "idx,", "study,"), r"unknown column 'idx'"),
]  # fmt: skip


def _renamed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _coco(path: Path) -> None:
    content = json.loads(path.read_text())
    for box in content["annotations"]:
        x1, y1, x2, y2 = box["bbox"]
        box["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("name", "harm", "text"), WRONG)
def test_a_wrong_tree_is_one_line(name, harm, text, tmp_path) -> None:
    root = KINDS[name][1](tmp_path / "data")
    harm(root)
    with pytest.raises(TTLError, match=text) as caught:
        loaded(name, root)
    assert "\n" not in str(caught.value)


def test_a_part_of_a_download_is_taken_where_that_is_asked_for(tmp_path) -> None:
    root = trees.ham10000(tmp_path / "data")
    shutil.rmtree(root / "HAM10000_images_part_2")
    samples = loaded("ham10000", root, partial=True)
    assert len(samples.ids) == 42
    assert any("42 of 84 samples were left out" in note for note in samples.notes)
    assert any("nv 6 of 6705" in note for note in samples.notes)


def test_ham_has_the_official_classes_and_lesions_stay_together(tmp_path) -> None:
    samples = loaded("ham10000", trees.ham10000(tmp_path / "data"))
    assert samples.class_names == ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
    assert Counter(samples.patients).most_common(1)[0][1] == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [("ones", 1.0), ("zeros", 0.0), ("ignore", np.nan), ({"Edema": "zeros"}, 1.0)],
)
def test_what_is_uncertain_in_chexpert(given, expected, tmp_path) -> None:
    root = trees.chexpert(tmp_path / "data")
    samples = loaded("chexpert", root, uncertain=given)
    plain = loaded("chexpert", root, uncertain="zeros")
    lines = [line.split(",") for line in (root / "train.csv").read_text().splitlines()]
    column, row = lines[0].index("No Finding"), 5
    unsure = [n for n, line in enumerate(lines[1:]) if line[column] == "-1.0"]
    np.testing.assert_array_equal(samples.labels[unsure, 0], [expected] * len(unsure))
    blank = [n for n, line in enumerate(lines[1:]) if line[column] == ""]
    assert not samples.labels[blank, 0].any()
    edema = OBSERVATIONS.index("Edema")
    if isinstance(given, dict):
        np.testing.assert_array_equal(samples.labels[:, edema], plain.labels[:, edema])
    assert samples.patients is not None
    assert int(samples.patients[row]) == int(samples.ids[row].split("patient")[1][:5])


def test_the_papers_groups_of_observations_and_frontal_views(tmp_path) -> None:
    root = trees.chexpert(tmp_path / "data")
    low, high = (loaded("chexpert", root, observations=group) for group in ("low", "high"))
    assert low.class_names == LOW
    assert high.class_names == HIGH
    assert sorted(LOW + HIGH) == sorted(OBSERVATIONS)
    frontal = loaded("chexpert", root, frontal=True)
    assert len(frontal.ids) == len(low.ids) / 2
    assert all("frontal" in name for name in frontal.ids)
    assert {name.split("/")[1] for name in np.array(low.ids)[low.splits == "test"]} == {"valid"}


def test_what_a_radiograph_of_bimcv_looks_like(tmp_path) -> None:
    root = trees.bimcv(tmp_path / "data")
    source = BimcvSource(path=root)
    samples = source.load(16)
    path = next(p for p in sorted(root.rglob("*vp-pa*.png")) if p.name == samples.ids[0])
    from PIL import Image

    raw = np.asarray(Image.open(path)).astype(np.float64)
    expected = 1 - np.clip((raw - 0) / 4096, 0, 1)  # its window, and MONOCHROME1
    assert samples.reader is not None
    shown = samples.reader.read(0).pixels
    np.testing.assert_allclose(shown[0] / 65535, expected, atol=1e-4)


def test_which_images_of_bimcv_count(tmp_path) -> None:
    root = trees.bimcv(tmp_path / "data")
    samples = loaded("bimcv", root)
    assert all("vp-pa" in name for name in samples.ids)
    # one patient of the positive set has a negative test
    assert np.bincount(samples.labels).tolist() == [14, 13]
    near = loaded("bimcv", root, pcr_days=7)
    assert np.bincount(near.labels).tolist() == [14, 12]
    both = loaded("bimcv", root, views=("pa", "lateral"))
    assert len(both.ids) == 2 * 27
    one = loaded("bimcv", root, views=("pa", "lateral"), one_per_session=True)
    assert len(one.ids) == 27


def test_lists_say_labels_and_splits(tmp_path) -> None:
    root = trees.bimcv(tmp_path / "data")
    names = [path.name for path in sorted(root.rglob("*vp-pa*.png"))][1:]
    folder = tmp_path / "noisy"
    folder.mkdir()
    for part, start in (("train", 0), ("val", 12), ("test", 18)):
        rows = [{"path": f"crop/{name}", "label": int("S03" in name)}
                for name in names[start::27 if start else 1][:8]]  # fmt: skip
        trees.table(folder / f"{part}.csv", rows)
    samples = loaded("bimcv", root, lists=folder)
    assert samples.splits.tolist() == ["train"] * 8 + ["val", "test"]
    (folder / "val.csv").write_text("path,label\nnowhere.png,1\n")
    with pytest.raises(TTLError, match=r"lists 1 images that are not there, .*'nowhere\.png'"):
        loaded("bimcv", root, lists=folder)


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("sub_vp-pa_dx", {}, "pa"),
        ("sub_vp-ap_cr", {}, "ap"),
        ("sub_vp-ll_dx", {}, "lateral"),
        ("sub_dx", {}, None),
        ("sub_vp-pa_dx", {"0008103E": {"Value": ["Torax LAT"]}}, "lateral"),
        ("sub_dx", {"00185101": {"Value": ["AP"]}}, "ap"),
    ],
)
def test_projections(name, tags, expected, tmp_path) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps(tags))
    assert projection(tmp_path / f"{name}.png") == expected


def test_patches_of_midog_are_about_their_boxes_and_mirrored_at_the_edge(tmp_path) -> None:
    root = trees.midog(tmp_path / "data")
    samples = loaded("midog", root, patch=32)
    assert samples.class_names == ("imposter", "mitotic figure")
    assert np.bincount(samples.labels).tolist() == [20, 20]
    assert any("1 slides (cases 151 to 200) are not labelled" in note for note in samples.notes)
    assert samples.reader is not None
    slide = tifffile.imread(root / "images/001.tiff")
    # the first box is [10, 90, 60, 140], its middle (35, 115), five rows from the lower edge
    expected = np.pad(slide, ((0, 40), (0, 0), (0, 0)), mode="reflect")[99:131, 19:51]
    np.testing.assert_array_equal(samples.reader.read(0).pixels, expected.transpose(2, 0, 1))


def test_slices_of_rspect_are_in_the_order_of_their_positions(tmp_path) -> None:
    root = trees.rspect(tmp_path / "data")
    samples = loaded("rspect", root)
    assert len(samples.ids) == 13  # one is indeterminate
    assert samples.abnormal is not None
    row = samples.ids.index("study03")
    files = [pydicom.dcmread(path) for path in (root / "train/study03").rglob("*.dcm")]
    files.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    shown = [place for place, one in enumerate(files) if Path(one.filename).stem[-1] in "1234"]
    assert samples.abnormal(row, 6).tolist() == shown
    assert samples.abnormal(samples.ids.index("study02"), 6).tolist() == []
    assert samples.labels[row] == 1


def test_slices_of_penet_are_counted_from_one(tmp_path) -> None:
    samples = loaded("penet", trees.penet(tmp_path / "data"))
    assert samples.abnormal is not None
    assert samples.abnormal(samples.ids.index("1"), 8).tolist() == [1, 2, 3, 4]
    assert Counter(samples.splits.tolist()) == {"train": 8, "val": 2, "test": 2}
