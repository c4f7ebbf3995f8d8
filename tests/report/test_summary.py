import csv
import io

from ttl_lightning.report.summary import summary_csv


def test_every_run_has_a_row_and_every_metric_a_column(run) -> None:
    failed = run("tf", "block2.1", 3, folder="x,y", status="failed", error='a "b"\nc')
    failed.result.metrics.clear()
    failed.result.complexity.clear()
    failed.result.train.clear()
    done = run(seed=1, place=4, overrides=["a.b=1"])
    done.result.metrics["test/f1"] = 0.25
    rows = list(csv.DictReader(io.StringIO(summary_csv([failed, done]))))
    assert len(rows) == 2
    assert rows[0]["folder"] == "x,y"
    assert rows[0]["error"] == 'a "b"\nc'
    assert (rows[0]["strategy"], rows[0]["cutoff"], rows[0]["seed"]) == ("tf", "block2.1", "3")
    assert {rows[0][key] for key in ("test/auroc", "params", "latency_ms", "epochs")} == {""}
    expected = {
        "folder": "ttl/block1.1/seed1", "status": "completed", "error": "", "data": "npz",
        "backbone": "net", "cutoff_index": "4", "val/auprc": "0.9", "test/f1": "0.25",
        "params": "1000", "trainable_params": "1000", "macs": "10000", "latency_ms": "1.0",
        "latency_ratio": "0.1",
        "epochs": "5", "best_epoch": "3", "wall_s": "1.5",
        "overrides": "strategy=ttl cutoff=block1.1 seed=1 a.b=1",
    }  # fmt: skip
    assert {key: rows[1][key] for key in expected} == expected
