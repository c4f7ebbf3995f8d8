"""What may be given to be predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.inputs import BlankMasks, GivenArrays, find_inputs, reader_of
from ttl_lightning.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "deep/er/a.png", ".hidden.png", "__MACOSX/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((6, 4), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_is_all_images_below_it(root: Path) -> None:
    found = find_inputs([str(root)], volumes=False)
    assert found.ids == ("a.png", "b.png", "deep/er/a.png")
    assert found.paths == [root / name for name in found.ids]


def test_patterns_files_lists_and_tables(root: Path) -> None:
    assert find_inputs([f"{root}/**/*.png"], volumes=False).ids[-1] == "deep/er/a.png"
    assert find_inputs([f"{root}/[ab].png"], volumes=False).ids == ("a.png", "b.png")
    lines = [f"{root}/b.png\n", "\n", f"{root}/a.png\n"]
    assert find_inputs(["-"], lines, volumes=False).paths == [root / "b.png", root / "a.png"]
    table = root / "t.csv"
    table.write_text("path,age\ndeep/er/a.png,3\nb.png,4\n")
    found = find_inputs([str(table)], volumes=False)
    assert found.ids == ("deep/er/a.png", "b.png")
    assert found.paths == [root / "deep/er/a.png", root / "b.png"]


def test_what_has_one_name_twice_is_named_by_its_path(root: Path) -> None:
    given = [str(root), str(root / "deep/er")]
    found = find_inputs(given, volumes=False)
    assert len(found.ids) == 3
    assert set(found.ids) == {str(path) for path in found.paths}


@pytest.mark.parametrize(
    ("given", "text"),
    [("gone.png", "no such file"), ("empty", "no images below"), ("*.gif", "no file is so named"),
     ("none.csv", "none of the columns path, image, study")],
)  # fmt: skip
def test_mistakes(root: Path, given: str, text: str) -> None:
    (root / "empty").mkdir()
    (root / "none.csv").write_text("name\nx\n")
    with pytest.raises(DataError, match=text):
        find_inputs([str(root / given)], volumes=False)


def test_arrays_are_read_as_files_of_them_are(root: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    Image.fromarray(image).save(root / "colour.png")
    theirs = reader_of([root / "colour.png"], volumes=False).read(0).pixels
    np.testing.assert_array_equal(GivenArrays([image], volumes=False).read(0).pixels, theirs)
    with pytest.raises(DataError, match=r"array 0: expected an image .* got float32 \(4, 4\)"):
        GivenArrays([np.zeros((4, 4), np.float32)], volumes=False).read(0)
    with pytest.raises(DataError, match=r"array 1: expected a volume .* got int16 \(4, 4\)"):
        GivenArrays([0, np.zeros((4, 4), np.int16)], volumes=True).read(1)


def test_blank_masks_have_their_images_sizes(root: Path) -> None:
    reader = reader_of([root / "a.png"], volumes=False)
    assert BlankMasks(reader, 2).read(0).pixels.shape == (2, 6, 4)
    assert not BlankMasks(reader, 2).read(0).pixels.any()
