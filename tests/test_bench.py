"""The benchmark's workloads are what they claim to be."""

import pytest

from anachron.emulators import bench, create
from anachron.emulators.mos6502.disassembler import listing


@pytest.mark.parametrize("workload", bench.WORKLOADS)
def test_a_workload_never_ends_and_runs_all_of_its_code_and_no_other(workload: str) -> None:
    m = bench.prepare(create("6502"), bench.WORKLOADS[workload])
    assert m.run(max_cycles=2_000_000).startswith("limit")
    used = m.profile().nonzero()[0]
    assert used.min() == bench.CODE
    assert used.max() < bench.CODE + len(bench.WORKLOADS[workload])
    starts = {int(line[:4], 16) for line in listing(m.peek, bench.CODE, used.max() + 1)}
    assert set(used.tolist()) == starts


def test_a_row_says_machine_workload_value_unit_and_ratio() -> None:
    assert bench.row("c64", "move", 1234.5678, "MHz", None) == {
        "machine": "c64", "workload": "move", "value": 1234.568, "unit": "MHz", "ratio": None}
