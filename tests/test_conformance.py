"""Public programs that try a CPU, where the user has them; the README's table is the same list."""

import pytest

from anachron.emulators import conformance
from anachron.emulators.conformance import CHECKS, VARIABLE, Check, Failed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.file)
def test_a_public_program_passes(check: Check) -> None:
    path = check.find()
    if path is None:
        pytest.skip(f"needs {check.file} in the folder that {VARIABLE} names")
    assert check.run(path)


def test_a_failure_is_a_row_of_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "6502_functional_test.bin").write_bytes(b"\x4c\x00\x04" * 1000)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    rows = {row["program"]: row["result"] for row in conformance.report()}
    assert rows["Dormann, functional test"].startswith("FAILS: ended at $")
    assert rows["ATTN-11, trained whole"] == "not here: attn11.lda"


def test_what_is_expected_is_compared() -> None:
    with pytest.raises(Failed, match="cycles 3, 4 expected"):
        conformance.expect(3, 4, "cycles")
