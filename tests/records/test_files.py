import pytest

from ttl_lightning.records.files import remove_parts, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_write_left_goes_from_the_folders_given_alone(tmp_path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    kept = [below / ".result.json.1.part", tmp_path / "a.part", tmp_path / ".part.json"]
    for path in (*kept, tmp_path / ".result.json.2.part"):
        path.touch()
    remove_parts(tmp_path, tmp_path / "absent")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
