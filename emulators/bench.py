"""Workloads of our own -> emulated MHz and MIPS on this computer, ratios in one run.

A row of `bench()` is one machine doing one workload: the emulated units a second of the host's
user CPU time, best of some repetitions, and the reference machine's own speed for comparison.
To add a workload: machine code that never ends, in WORKLOADS.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from anachron.emulators import create

CODE = 0xC000
RUN_CYCLES = 300_000_000
REPETITIONS = 3

# Name -> 6502 code for $C000. Zero page $FB-$FE points to data at $2000 and $3000.
WORKLOADS = {
    # A dot product: 256 products of bytes by shifting and adding, 24-bit sum.
    "multiply": bytes.fromhex(
        "a000"  # C000 LDY #0
        "b1fb 85f7 b1fd 85f8"  # C002 LDA ($FB),Y; STA $F7; LDA ($FD),Y; STA $F8
        "a900 a208"  # C00A LDA #0; LDX #8
        "46f7 9003 18 65f8"  # C00E LSR $F7; BCC C015; CLC; ADC $F8
        "6a 66f9 ca d0f3"  # C015 ROR A; ROR $F9; DEX; BNE C00E (wrong by a bit: work is work)
        "18 65fa 85fa c8 d0df 4c00c0"),  # CLC; ADC $FA; STA $FA; INY; BNE C002; JMP C000
    # A table look-up and a sum, as a kernel does it.
    "look up": bytes.fromhex(
        "a200 a900 18"  # LDX #0; LDA #0; CLC
        "7d0020 bc0030 790021 e8 d0f4 8d0040 4c00c0"),
    # Moving memory, a byte at a time.
    "move": bytes.fromhex("a000 b1fb 91fd c8 d0f9 e6fe a5fe c940 d0f1 a930 85fe 4c00c0"),
}
COLD_START = ("from anachron.emulators import create\n"
              "for name in ('6502', 'c64', 'pdp11/34a'): create(name)\n")


def prepare(machine: Any, code: bytes) -> Any:
    """Deposit a workload and its pointers; interrupts off."""
    machine.memory[CODE:CODE + len(code)] = list(code)
    machine.memory[0x2000:0x4100] = [(37 * k + k // 256) & 0xFF for k in range(0x2100)]
    machine.memory[0xFB:0xFF] = [0x00, 0x20, 0x00, 0x30]
    machine.registers["pc"], machine.registers["p"] = CODE, 4
    return machine


def measure(run: Callable[[], int], repetitions: int = REPETITIONS) -> float:
    """The most units a second of CPU time that run() did; it returns how many it did."""
    best = 0.0
    for _ in range(repetitions):
        began = time.process_time()
        done = run()
        best = max(best, done / (time.process_time() - began))
    return best


def cycles_run(machine: Any, n_cycles: int) -> Callable[[], int]:
    def run() -> int:
        before = machine.cycles
        machine.run(max_cycles=n_cycles)
        return machine.cycles - before
    return run


def bench(n_cycles: int = RUN_CYCLES) -> list[dict[str, Any]]:
    """Measure every machine on every workload; see `row` for the columns."""
    rows = []
    machines = {
        "6502": lambda: create("6502", profile=False),
        "6502, profile": lambda: create("6502"),
        "c64": lambda: create("c64", profile=False),
        "c64, profile": lambda: create("c64"),
    }
    for workload, code in WORKLOADS.items():
        for name, make in machines.items():
            machine = prepare(make(), code)
            rate = measure(cycles_run(machine, n_cycles))
            rows.append(row(name, workload, rate / 1e6, "MHz", rate / machine.clock_hz))
    rows += bench_pdp11()
    rows += bench_threads(n_cycles)
    rows += bench_start()
    return rows


def row(machine: str, workload: str, value: float, unit: str, ratio: float | None
        ) -> dict[str, Any]:
    """machine, workload, value and unit, and ratio: times as fast as the real machine (for
    threads, than one; for a start, null)."""
    return {"machine": machine, "workload": workload, "value": round(value, 3), "unit": unit,
            "ratio": ratio and round(ratio, 3)}


def bench_pdp11(n_instructions: int = 60_000_000) -> list[dict[str, Any]]:
    """A multiply-accumulate loop on the PDP-11/34A: MOV, MUL, ADD, ADC, ADD, SOB."""
    machine = create("pdp11/34a")
    loop = [0o012703, 0o000400, 0o012701, 0o020000, 0o012702, 0o030000,  # MOV #256,R3; pointers
            0o012104, 0o070422, 0o060500, 0o005506, 0o060406, 0o077306,  # MOV (1)+,R4; MUL (2)+,R4
            0o000137, 0o001000]  # ADD R5,R0; ADC SP; ADD R4,SP; SOB; JMP @#1000
    for k, word in enumerate(loop):
        machine.word[0o1000 + 2 * k] = word
    machine.registers["pc"] = 0o1000
    began_ns = machine.time_ns

    def run() -> int:
        before = machine.n_instructions
        machine.run(max_instructions=n_instructions)
        return machine.n_instructions - before

    rate = measure(run)
    real_rate = machine.n_instructions / ((machine.time_ns - began_ns) / 1e9)
    return [row("pdp11/34a", "dot product", rate / 1e6, "MIPS", rate / real_rate)]


def bench_threads(n_cycles: int) -> list[dict[str, Any]]:
    """As many machines at once as there are cores, against one alone, by the wall's clock."""
    n_machines = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    rates = []
    for count in (1, n_machines):
        runs = [cycles_run(prepare(create("6502"), WORKLOADS["look up"]), n_cycles)
                for _ in range(count)]
        threads = [threading.Thread(target=run) for run in runs]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(count * n_cycles / (time.perf_counter() - began))
    return [row(f"{n_machines} x 6502", "look up", rates[1] / 1e6, "MHz", rates[1] / rates[0])]


def bench_start() -> list[dict[str, Any]]:
    """CPU seconds from nothing to three machines: compiled now, and from the cache."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        for label in ("first start", "later start"):
            before = os.times()
            subprocess.run([sys.executable, "-c", COLD_START], env=environment, check=True)
            after = os.times()
            spent = (after.children_user + after.children_system
                     - before.children_user - before.children_system)
            rows.append(row("6502, c64, pdp11/34a", label, spent, "s", None))
    return rows
