"""Which kernel does each op, in how many bytes and cycles, and what was left aside, and why."""

import pytest

import anachron.compiler as ac
from anachron.compiler.claims import Cycles
from anachron.compiler.image import Image
from anachron.compiler.report import calls_table, fit, left_aside, plain, rows

MACHINES = ("c64", "c64+reu", "c64+crt", "pdp11/34a", "pdp11/20")


def built(name: str, machine: str, **options: object) -> Image:
    image: Image = ac.build(ac.quantize(ac.load(name)), machine, **options)
    return image


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["reverse", "count"])
def test_the_times_of_ops_are_those_of_kernels(name: str, machine: str) -> None:
    image = built(name, machine)
    whole, ops = (sum(times.values(), Cycles(0, 0, 0)) for times in (image.cycles, image.times))
    between = sum(
        (image.cycles[part] for part in ("forward", "place_rows") if part in image.cycles),
        Cycles(0, 0, 0),
    )
    rest = whole - ops - between  # what moves an encoder's rows is no op's
    assert rest == pytest.approx((0, 0, 0), abs=1e-3) or (name, machine[:3]) == ("reverse", "c64")
    assert rest.lo >= 0 and rest.expected < 0.03 * whole.expected
    assert image.times.keys() <= {call.op for call in image.calls}


def test_a_pdp11_s_other_variant_is_told_with_its_bytes_and_time() -> None:
    image = built("reverse", "pdp11/34a")
    (way,) = image.others()
    least = built("reverse", "pdp11/34a", smallest=True)
    assert way.calls == least.calls and way.times == least.times and not way.bytes_over
    size = max(o.end for o in least.objects)
    tight = built("reverse", "pdp11/34a", memory_bytes=size)
    (way,) = tight.others()
    assert way.bytes_over > 0
    matrices = [call for call in tight.calls if call.kernel == "matvec"]
    for call in matrices:
        assert f"{way.bytes_over:,} bytes too many" in call.why
        assert [row[0] for row in left_aside(call, [way])] == ["straight"]


def test_what_a_c64_leaves_aside_is_told_op_by_op() -> None:
    image = built("count", "c64")
    ways = [*image.others()]
    least = built("count", "c64", smallest=True)
    slow = {call.op: call for call in least.calls}
    times = dict(least.times)
    n = 0
    for call in image.calls:
        aside = {row[0]: row for row in left_aside(call, ways)}
        assert call.variant not in aside
        if slow[call.op].variant != call.variant:
            _, size, time, over = aside[slow[call.op].variant]
            assert (size, time, over) == (slow[call.op].size, times[call.op], 0)
            n += 1
    assert n > 5


@pytest.mark.parametrize("machine", ["c64", "pdp11/34a"])
def test_the_table_is_no_wider_than_a_page(machine: str) -> None:
    image = built("count", machine)
    text = plain(fit(calls_table(image), 100), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("why") == 1  # one table
    told = rows(calls_table(image))
    assert {row["op"] for row in told} == {call.op for call in image.calls}
    assert any(row["why"].startswith("no: ") for row in told if not row["kernel"])
