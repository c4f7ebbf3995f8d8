from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from sklearn.metrics import roc_auc_score

from ttl_lightning.models.backbones.factory import create_backbone

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PARAMETERS = "parameters"
# What each notebook's parameters are here; those of a notebook that is not named stay its own.
SMALL = {
    "01_quickstart": {
        "EPOCHS": 1,
        "DATA": [
            "data.train_size=40", "data.val_size=24", "data.test_size=24", "data.image_size=32",
        ],
    },
    "02_where_to_cut": {
        "DATA": [
            "data.train_size=40", "data.val_size=24", "data.test_size=24", "data.image_size=32",
        ],
        "BACKBONE": "test_resnet",
        "WEIGHTS": "null",
        "EPOCHS": 1,
    },
    "03_your_own_data": {"PATIENTS": 30, "EPOCHS": 1},
}  # fmt: skip
# A machine's paths, what a terminal draws with, and what bars are made of.
LEFTOVERS = re.compile(r"(?<![\w.<:/])/\w+/|\w:\\|\x1b\[|\d+%\||it/s|━╸")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def printed(notebook: Any) -> str:
    return "".join(one.text for one in outputs(notebook) if one.output_type == "stream")


def tagged(notebook: Any) -> list[int]:
    return [
        i for i, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", [])
    ]


def test_there_are_notebooks() -> None:
    assert set(SMALL) <= {path.stem for path in NOTEBOOKS}


@every_notebook
def test_files_say_nothing_of_a_machine(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.nbformat == 4
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert path.stat().st_size < 500_000


@every_notebook
def test_every_cell_compiles(path: Path) -> None:
    plain = TransformerManager().transform_cell  # magics become calls
    for cell in code_cells(read(path)):
        compile(plain(cell.source), f"{path.name} {cell.id}", "exec")


@every_notebook
def test_one_cell_of_parameters_before_all_code(path: Path) -> None:
    notebook = read(path)
    (place,) = tagged(notebook)
    assert notebook.cells[place] is code_cells(notebook)[0]
    given: dict[str, object] = {}
    exec(notebook.cells[place].source, given)
    assert set(SMALL.get(path.stem, {})) <= set(given)


@every_notebook
def test_outputs_are_of_one_run_and_render_on_a_code_host(path: Path) -> None:
    notebook = read(path)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {"stream": {"name", "text"}, "display_data": {"data"}, "execute_result": {"data"}}
    for output in outputs(notebook):
        assert output.output_type in kinds
        if output.output_type == "stream":
            assert output.name == "stdout"
            shown = {"text/plain": output.text}
        else:
            assert output.metadata == {}
            shown = output.data
        assert set(shown) <= {"text/plain", "text/html", "image/png"}
        assert 'class="dataframe"' in shown.get("text/html", 'class="dataframe"')
        assert not LEFTOVERS.search(shown["text/plain"] + shown.get("text/html", ""))
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))


@pytest.fixture
def kernel_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where notebooks run, with the kernel's own files beside it."""
    # the kernel draws inline, not as the other tests do
    monkeypatch.delenv("MPLBACKEND")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def executed(path: Path, folder: Path, question: str = "") -> Any:
    """The notebook after a run in the folder, with small parameters, and a last cell of our own."""
    from nbclient import NotebookClient

    notebook = read(path)
    small = "\n".join(f"{key} = {value!r}" for key, value in SMALL.get(path.stem, {}).items())
    (place,) = tagged(notebook)
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(small))
    notebook.cells.append(nbformat.v4.new_code_cell(question))
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    return notebook


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def check_quickstart(path: Path, folder: Path) -> None:
    text = printed(executed(path, folder, 'print(scores.loc["auroc", "test"])'))
    run = folder / "outputs" / "quickstart"
    made = result(run)
    assert (made["status"], made["strategy"], made["cutoff"]) == ("completed", "ttl", "block3.2")
    test = [row for row in rows(run) if row["split"] == "test"]
    truth = [row["label"] == "ground_glass" for row in test]
    expected = roc_auc_score(truth, [float(row["probability/ground_glass"]) for row in test])
    assert float(text.splitlines()[-1]) == pytest.approx(expected)


def check_where_to_cut(path: Path, folder: Path) -> None:
    question = "import json; print(json.dumps([choices, [t.candidate for t in search.trials]]))"
    choices, tried = json.loads(printed(executed(path, folder, question)).splitlines()[-1])
    work = folder / "outputs" / "where_to_cut"
    runs = {entry.name: result(entry) for entry in work.iterdir()}
    assert {run["status"] for run in runs.values()} == {"completed"}
    whole = runs.pop("whole")
    assert (whole["strategy"], whole["cutoff"]) == ("ftl", None)
    assert all(run["cutoff"] == name for name, run in runs.items())
    assert set(choices) == {"search", "detection", "probe"}
    assert set(tried) | set(choices.values()) == set(runs)
    assert set(runs) <= set(create_backbone("test_resnet", weights=None).cutoffs)
    scores = {name: runs[name]["metrics"]["val/auprc"] for name in tried}
    assert scores[choices["search"]] == max(scores.values())


def check_your_own_data(path: Path, folder: Path) -> None:
    text = printed(executed(path, folder))
    work = folder / "outputs" / "your_own_data"
    png, dicom = rows(work / "run_png"), rows(work / "run_dicom")
    column = "probability/sick"
    assert [row[column] for row in png] == [row[column] for row in dicom]
    assert [Path(row["id"]).stem for row in png] == [Path(row["id"]).stem for row in dicom]
    assert len({row[column] for row in png}) > 10
    assert "patients in more than one split: 0" in text
    for mistake, line in (
        ("moved", "the same patient is in two splits: 'P"),
        ("copied", "the same image or study is in two splits: "),
        ("damaged", "cannot read image outputs/your_own_data/damaged.png: "),
    ):
        assert f"{mistake}: {line}" in text
        assert not (work / mistake).exists()


CHECKS = {
    "01_quickstart": check_quickstart,
    "02_where_to_cut": check_where_to_cut,
    "03_your_own_data": check_your_own_data,
}


@pytest.mark.slow
@every_notebook
def test_runs_in_an_empty_folder(path: Path, kernel_home: Path) -> None:
    CHECKS.get(path.stem, executed)(path, kernel_home)
    assert [entry.name for entry in kernel_home.iterdir()] == ["outputs"]
