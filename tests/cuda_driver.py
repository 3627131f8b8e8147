"""NVIDIA's driver library, played by the interpreter: real C functions, of cuda.h's signatures.

device.py calls them as it calls libcuda's: every argument goes through C's own conventions, and a
launch reads its parameters from where the pointers point.  Memory is the host's.  A context that a
kernel has broken answers nothing but that error any more, as NVIDIA's does.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from typing import Any

import numpy as np

from anachron.compiler.targets.cuda.driver import NUMBERS, SIGNATURES
from anachron.emulators import ptx
from anachron.emulators.ptx import PtxError

TINY = """\
model tiny
size dim = 8, seq_len = 6, vocab_size = 5
tokenizer characters("abcde")
x = embed(token, dim) + embed(position, dim)
x = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2, causal)
x = x + linear(relu(linear(rms_norm(x), 12)), dim)
logits = linear(rms_norm(x), vocab_size)
"""
NAME = "NVIDIA H200, interpreted"
NOT_FOUND, ILLEGAL_ADDRESS, INVALID_VALUE, UNKNOWN = 500, 700, 1, 999
UNSUPPORTED_PTX, INVALID_PTX, NO_BINARY, NO_DEVICE, OUT_OF_MEMORY = (
    NUMBERS[f"CUDA_ERROR_{name}"]
    for name in (
        "UNSUPPORTED_PTX_VERSION", "INVALID_PTX", "NO_BINARY_FOR_GPU", "NO_DEVICE", "OUT_OF_MEMORY",
    )
)  # fmt: skip
CLOCKS_PER_SECOND = 1e9  # a warp-instruction is a nanosecond
HEADER = re.compile(r"\.version (\d+)\.(\d+)\s+\.target sm_(\d+)(\d)\s")


class PlayedDriver:
    """What ctypes.CDLL gives, for as many functions as device.py names.

    names       of the GPUs
    capability  and shared, bytes a block may have: of all of them
    newest      version of PTX that it takes
    breaks      launches after which the context is broken
    memory      bytes that can be allocated at once

    defects is what goes wrong from now on: gone, the GPU; wrong, a launch's results; break, its
    context; hang, what waits for it; die, the process.
    """

    def __init__(
        self,
        names: tuple[str, ...] = (NAME,),
        capability: tuple[int, int] = (9, 0),
        shared: int = 227 * 1024,
        newest: tuple[int, int] = (9, 0),
        breaks: int = 1 << 30,
        memory: int = 1 << 40,
    ) -> None:
        self.names, self.capability, self.newest = names, capability, newest
        self.breaks, self.memory, self.most_shared = breaks, memory, shared
        self.attributes = {
            NUMBERS[f"CU_DEVICE_ATTRIBUTE_{name}"]: value
            for name, value in {
                "MULTIPROCESSOR_COUNT": 2,
                "CLOCK_RATE": 1_980_000,
                "KERNEL_EXEC_TIMEOUT": 0,
                "COMPUTE_CAPABILITY_MAJOR": capability[0],
                "COMPUTE_CAPABILITY_MINOR": capability[1],
                "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": shared,
            }.items()
        }
        self.held: dict[int, np.ndarray] = {}
        self.modules: dict[int, Any] = {}
        self.shared: dict[int, int] = {}
        self.events: dict[int, float] = {}
        self.offered = b""
        self.defects = ""
        self.defect: Exception | None = None
        self.time, self.status, self.launches, self.next = 0.0, 0, 0, 64
        for name, kinds in SIGNATURES.items():
            kept = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(self._guard(getattr(self, f"_{name}")))
            setattr(self, name, kept)

    def _guard(self, function: Any) -> Any:
        def call(*arguments: Any) -> int:
            if self.status and function.__name__ != "_cuGetErrorString":
                return self.status
            try:
                return function(*arguments) or 0
            except Exception as error:  # what C would not survive: the caller's defect
                self.defect = error
                return UNKNOWN

        return call

    def _handle(self) -> int:
        self.next += 64
        return self.next

    @staticmethod
    def _put(address: int, kind: Any, value: Any) -> None:
        kind.from_address(address).value = value

    def _cuInit(self, flags: int) -> int:
        if self.defects == "gone":
            return NO_DEVICE
        return INVALID_VALUE if flags else 0

    def _cuDriverGetVersion(self, version: int) -> None:
        self._put(version, ctypes.c_int, 13000)

    def _cuGetErrorString(self, error: int, text: int) -> None:
        why = f", {self.defect!r}" if error == UNKNOWN else ""
        self.text = ctypes.c_char_p(f"error {error}, played{why}".encode())
        self._put(text, ctypes.c_void_p, ctypes.cast(self.text, ctypes.c_void_p).value)

    def _cuDeviceGetCount(self, count: int) -> int:
        self._put(count, ctypes.c_int, len(self.names))
        return 0 if self.names else NO_DEVICE

    def _cuDeviceGet(self, device: int, ordinal: int) -> None:
        self._put(device, ctypes.c_int, ordinal)

    def _cuDeviceGetName(self, name: int, length: int, device: int) -> None:
        text = self.names[device].encode() + b"\0"
        ctypes.memmove(name, text, min(length, len(text)))

    def _cuDeviceGetAttribute(self, value: int, which: int, device: int) -> int:
        if which not in self.attributes or not 0 <= device < len(self.names):
            return INVALID_VALUE
        self._put(value, ctypes.c_int, self.attributes[which])
        return 0

    def _cuDevicePrimaryCtxRetain(self, context: int, device: int) -> None:
        self._put(context, ctypes.c_void_p, self._handle())

    def _cuCtxSetCurrent(self, context: int) -> int:
        return 0 if context else INVALID_VALUE

    def _cuModuleLoadDataEx(
        self, module: int, image: int, count: int, options: int, values: int
    ) -> int:
        names = (ctypes.c_int * count).from_address(options)
        given = dict(zip(names, (ctypes.c_void_p * count).from_address(values), strict=True))
        log = given[NUMBERS["CU_JIT_ERROR_LOG_BUFFER"]]
        size = given[NUMBERS["CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES"]]
        raw = ctypes.string_at(image)
        if raw.startswith(b"\x7fELF"):
            # A cubin cannot be interpreted: the text that was offered last stands for it.
            raw = self.offered
        else:
            found = HEADER.search(raw.decode())
            assert found
            version, target = map(int, found.groups()[:2]), map(int, found.groups()[2:])
            self.offered = raw
            if tuple(version) > self.newest:
                return UNSUPPORTED_PTX
            if tuple(target) > self.capability:
                text = b"ptxas fatal: a newer GPU's\n\0"
                ctypes.memmove(log, text, min(size, len(text)))
                return INVALID_PTX
        text = raw.decode()
        handle = self._handle()
        self.modules[handle] = ptx.load(text)
        self._put(module, ctypes.c_void_p, handle)
        return 0

    def _cuModuleGetFunction(self, function: int, module: int, name: bytes) -> int:
        if self.modules[module].program.name != name.decode():
            return NOT_FOUND
        self._put(function, ctypes.c_void_p, module)
        return 0

    def _cuModuleUnload(self, module: int) -> None:
        del self.modules[module]

    def _cuFuncSetAttribute(self, function: int, attribute: int, value: int) -> int:
        most = NUMBERS["CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"]
        if attribute != most or value > self.most_shared:
            return INVALID_VALUE
        self.shared[function] = value
        return 0

    def _cuFuncGetAttribute(self, value: int, attribute: int, function: int) -> None:
        assert function in self.modules
        known = {
            NUMBERS["CU_FUNC_ATTRIBUTE_NUM_REGS"]: 40,
            NUMBERS["CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES"]: 0,
        }
        self._put(value, ctypes.c_int, known[attribute])

    def _cuLaunchKernel(self, function: int, *rest: Any) -> int:
        gx, gy, gz, bx, by, bz, shared, stream, parameters, extra = rest
        if shared > self.shared.get(function, 48 * 1024) or {gy, gz, by, bz} != {1} or extra:
            return INVALID_VALUE
        kernel, given = self.modules[function], []
        for i, (kind, _) in enumerate(kernel.program.parameters):
            where = ctypes.c_void_p.from_address(parameters + 8 * i).value
            if kind.endswith("64"):
                given.append(self.held[ctypes.c_uint64.from_address(where or 0).value])
            else:
                given.append(ctypes.c_int32.from_address(where or 0).value)
        self.launches += 1
        try:
            if self.launches > self.breaks or self.defects == "break":
                raise PtxError("broken, as was asked for")
            if self.defects == "die":
                os._exit(9)
            before = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
            done = kernel.launch(*given, threads=bx, blocks=gx, shared=shared)
        except PtxError:
            self.status = ILLEGAL_ADDRESS
            return 0  # a launch returns before its kernel ends
        assert not done.races
        for old, new in zip(before, given, strict=True) if self.defects == "wrong" else ():
            if isinstance(new, np.ndarray) and not np.array_equal(old, new):
                new[np.flatnonzero(old != new)[-1]] ^= 1
        self.time += sum(done.counts.values()) / CLOCKS_PER_SECOND
        return 0

    def _cuMemAlloc_v2(self, address: int, size: int) -> int:
        if not size:
            return INVALID_VALUE
        if size > self.memory:
            return OUT_OF_MEMORY
        array = np.full(size, 0xA5, np.uint8)
        self.held[array.ctypes.data] = array
        self._put(address, ctypes.c_uint64, array.ctypes.data)
        return 0

    def _cuMemFree_v2(self, address: int) -> None:
        del self.held[address]

    def _cuMemsetD8_v2(self, address: int, value: int, size: int) -> None:
        self.held[address][:size] = value

    def _cuMemcpyHtoD_v2(self, address: int, host: int, size: int) -> None:
        assert size <= self.held[address].nbytes
        ctypes.memmove(address, host, size)

    def _cuMemcpyDtoH_v2(self, host: int, address: int, size: int) -> None:
        assert size <= self.held[address].nbytes
        ctypes.memmove(host, address, size)

    def _cuEventCreate(self, event: int, flags: int) -> None:
        self._put(event, ctypes.c_void_p, self._handle())

    def _cuEventRecord(self, event: int, stream: int) -> None:
        self.events[event] = self.time

    def _cuEventSynchronize(self, event: int) -> int:
        if self.defects == "hang":
            time.sleep(1e4)
        return 0 if event in self.events else INVALID_VALUE

    def _cuEventElapsedTime(self, milliseconds: int, start: int, end: int) -> None:
        self._put(milliseconds, ctypes.c_float, 1e3 * (self.events[end] - self.events[start]))

    def _cuEventDestroy_v2(self, event: int) -> None:
        self.events.pop(event, None)
