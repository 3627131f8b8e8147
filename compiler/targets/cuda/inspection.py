"""PTX -> what NVIDIA's assembler made of it: registers, spills, the machine's own instructions.

No GPU is needed, but ptxas is, and nvdisasm to read its work: the packages nvidia-cuda-nvcc and
nvidia-cuda-nvdisasm, or a CUDA toolkit on the path.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.generations import HOPPER, Pair
from anachron.compiler.targets.cuda.toolkit import INSTALL

MOST_SECONDS = 300
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9.]*)\s*([^;]*);")
LOCAL = ("LDL", "STL")
DOUBLE = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")
LOGGED = {
    "registers": r"Used (\d+) registers",
    "stack": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
}


@dataclass(frozen=True)
class Inspection:
    """One kernel, assembled: bytes, registers a thread, and instructions by opcode."""

    cubin: bytes = field(repr=False)
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    opcodes: Mapping[str, int]
    text: str = field(repr=False)

    @property
    def faults(self) -> tuple[str, ...]:
        """What a fast kernel must not have, in words; empty if all is well."""
        double = self._count(DOUBLE) + sum(
            n for name, n in self.opcodes.items() if re.search(r"\.F64\b", name)
        )
        counted = {
            "bytes of stack": self.stack,
            "bytes spilled": self.spill_stores + self.spill_loads,
            "instructions on local memory": self._count(LOCAL),
            "instructions in double precision": double,
        }
        return tuple(f"{count} {what}" for what, count in counted.items() if count)

    def count(self, name: str) -> int:
        """Instructions of an opcode, with any modifiers."""
        return self._count((name,))

    def _count(self, names: tuple[str, ...]) -> int:
        return sum(n for opcode, n in self.opcodes.items() if opcode.split(".")[0] in names)


def find_tool(name: str) -> str | None:
    """The path of one of NVIDIA's tools: of a package, or of a toolkit."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob(f"*/bin/{name}*")):
            if path.stem == name and path.is_file():
                return str(path)
    return shutil.which(name)


def assemble(
    ptx: str, capability: Pair = HOPPER.capability, *options: str
) -> tuple[bytes, str]:
    """The cubin for GPUs of a capability, and what ptxas said of it.

    Raises Absent where there is no ptxas, ValueError for PTX that it refuses.
    """
    tool = find_tool("ptxas")
    if not tool:
        raise Absent(f"NVIDIA's assembler ptxas is not installed here: {INSTALL}")
    major, minor = capability
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [tool, "-v", f"-arch=sm_{major}{minor}", *options]
        command += [str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
        said = done.stdout + done.stderr
        if done.returncode:
            raise ValueError(f"ptxas refuses the kernel: {' '.join(said.split())[:300]}")
        return made.read_bytes(), said


def disassemble(cubin: bytes, *options: str) -> str:
    """The machine's instructions as text; Absent where there is no nvdisasm."""
    tool = find_tool("nvdisasm")
    if not tool:
        raise Absent(f"NVIDIA's disassembler nvdisasm is not installed here: {INSTALL}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [tool, "-c", *options, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
    if done.returncode:
        raise ValueError(f"nvdisasm refuses the kernel: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def inspect(ptx: str, capability: Pair = HOPPER.capability) -> Inspection:
    """Assemble a kernel and read it back."""
    cubin, said = assemble(ptx, capability)
    text = disassemble(cubin)
    logged = {}
    for name, pattern in LOGGED.items():
        found = re.search(pattern, said)
        logged[name] = int(found[1]) if found else 0
    opcodes = Counter(found[3] for found in INSTRUCTION.finditer(text))
    return Inspection(cubin, **logged, opcodes=opcodes, text=text)
