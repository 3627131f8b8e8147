"""The benchmark's workloads are what they claim to be."""

import pytest

from anachron.emulators import bench, create


@pytest.mark.parametrize("workload", bench.WORKLOADS)
def test_a_workload_never_ends_and_stays_in_its_code(workload: str) -> None:
    m = bench.prepare(create("6502"), bench.WORKLOADS[workload])
    assert m.run(max_cycles=200_000).startswith("limit")
    used = m.profile().nonzero()[0]
    assert used.min() == bench.CODE
    assert used.max() < bench.CODE + len(bench.WORKLOADS[workload])


def test_a_row_says_machine_workload_value_unit_and_ratio() -> None:
    assert bench.row("c64", "move", 1234.5678, "MHz", None) == {
        "machine": "c64", "workload": "move", "value": 1234.568, "unit": "MHz", "ratio": None}
