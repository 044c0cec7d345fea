"""The long-form table put together from records: each line under the dataset that it is of."""

from __future__ import annotations

from pathlib import Path

from avq.design.ablation import load_ablation
from avq.design.plan import Choices, make_plan
from avq.design.presets import get_preset
from avq.design.run import Evaluation
from avq.metrics.measurement import measured
from avq.reporting.tables import wide_table
from avq.store.assembly import assemble, costs_of
from avq.store.layout import Store
from avq.store.record import of_run, record_frame

FILE = """question="q"
expected="e"
base={variant="aren-1",width=4,code_dim=8,codebook_size=8,train_images=16,validation_images=8,test_images=8,image_size=32}
[axes]
dataset=["synthetic-faces","synthetic-faces-independent"]
"""


def test_costs_that_datasets_share_stand_under_each(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(FILE)
    plan = make_plan(
        load_ablation(tmp_path / "mine.toml"), get_preset("smoke"), Choices({}, seeds=1), data_root=None, device="cpu"
    )
    store = Store(tmp_path / "store")
    first, second = plan.runs
    for run in plan.runs:
        record = record_frame(of_run(run, "m"), [("test", measured("mae", 0.1, protocol="mae.1"))])
        store.write_record(run, record.iloc[:0])
        store.write_record(Evaluation(run, {}, ""), record)
    costs = costs_of(first, "cpu")
    assert costs == costs_of(second, "cpu")
    store.write_record(costs, record_frame(of_run(second, "m"), [("", measured("macs", 7, protocol="macs.1"))]))

    table = assemble(plan, store, {}, "cpu")
    costs = table[table["metric"] == "macs"]
    assert dict(zip(costs["row"], costs["dataset"], strict=True)) == {
        f"aren-1[dataset={name}]": name for name in plan.datasets
    }
    wide = wide_table(table)
    assert list(wide["row"]) == [row.label for row in plan.rows]  # a line each, not one more under the other's name
    assert wide["macs"].tolist() == [7, 7]
