"""A GPU, through NVIDIA's driver library: load PTX, launch once, time it by events.

None of this has run on one yet: unverified.
Source: NVIDIA, "CUDA Driver API", version 13.0: modules, execution control, events.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from anachron.compiler.targets import Absent, Machine
from anachron.compiler.targets.cuda.driver import (
    NO_PTX,
    NUMBERS,
    check,
    count_gpus,
    describe,
    find_driver,
    read,
)
from anachron.compiler.targets.cuda.generations import HOPPER, Gpu, port
from anachron.compiler.targets.cuda.inspection import assemble
from anachron.emulators.ptx.syntax import parse

SECTION = re.compile(rb"\0\.text\.([\w$]+)\0")
NAME_LENGTH = 256
LOG_LENGTH = 4096
REPEATS = 20  # timed launches, of which the fastest counts; the first ones warm the clocks
MOST_SECONDS = 2.0  # of all launches together, beyond which no other begins


@dataclass(frozen=True)
class Scratch:
    """An argument that is memory of the GPU alone: zeros at first, and not brought back."""

    n_bytes: int


@dataclass(frozen=True)
class Device:
    """A GPU, with its context current in the thread that opened it, in this process alone."""

    driver: Any
    number: int
    gpu: Gpu

    @classmethod
    def open(cls, wanted: str = "") -> Device:
        """The first GPU whose name has `wanted` in it; Absent says what is there otherwise.

        Which are there, and which of them is the first, CUDA_VISIBLE_DEVICES decides.
        """
        device = cls.find(wanted)
        context = c_void_p()
        driver = device.driver
        status = driver.cuDevicePrimaryCtxRetain(byref(context), c_int(device.number))
        status = status or driver.cuCtxSetCurrent(context)
        if status:
            raise Absent(f"the {device.name} here cannot be had: {describe(driver, status)}")
        return device

    @classmethod
    def find(cls, wanted: str = "") -> Device:
        """The same without a context: enough to be asked what it is."""
        driver = find_driver()
        names = []
        for ordinal in range(count_gpus(driver)):
            number = read(driver, "cuDeviceGet", c_int, c_int(ordinal))
            text = ctypes.create_string_buffer(NAME_LENGTH)
            check(driver, driver.cuDeviceGetName(text, c_int(NAME_LENGTH), c_int(number)))
            names.append(text.value.decode(errors="replace"))
            if wanted in names[-1]:
                break
        else:
            raise Absent(f"the GPU here is a {' and a '.join(dict.fromkeys(names))}: use --on cuda")
        device = cls(driver, number, HOPPER)
        major, minor, shared = (
            device._attribute(f"CU_DEVICE_ATTRIBUTE_{name}")
            for name in (
                "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR",
                "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
            )
        )  # fmt: skip
        return cls(driver, number, Gpu(names[-1], (major, minor), shared))

    @property
    def name(self) -> str:
        return self.gpu.name

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at once, where one fills a multiprocessor."""
        return self._attribute("CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT")

    @property
    def clock_hz(self) -> int:
        """The highest clock of the multiprocessors."""
        return 1000 * self._attribute("CU_DEVICE_ATTRIBUTE_CLOCK_RATE")

    @property
    def has_watchdog(self) -> bool:
        """The driver ends a launch that takes some seconds: the GPU also shows a screen."""
        return bool(self._attribute("CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT"))

    @property
    def driver_version(self) -> str:
        """The newest CUDA that the driver takes."""
        number = read(self.driver, "cuDriverGetVersion", c_int)
        return f"{number // 1000}.{number % 1000 // 10}"

    def _attribute(self, name: str) -> int:
        wanted = c_int(NUMBERS[name])
        return read(self.driver, "cuDeviceGetAttribute", c_int, wanted, c_int(self.number))

    def load(self, kernel: str | bytes, shared: int) -> Loaded:
        """A kernel ready to be launched: PTX, which the driver compiles, or a cubin.

        shared  bytes of shared memory that a block needs

        PTX is offered as this GPU can take it, and where the driver takes none, as a cubin, if
        ptxas is here.  Raises Absent where the GPU, or its driver, cannot run the kernel.
        """
        driver, gpu = self.driver, self.gpu
        if shared > gpu.shared_bytes:
            raise Absent(
                f"the kernel needs {shared:,} bytes of shared memory, a block of the {gpu.name} "
                f"here has {gpu.shared_bytes:,}"
            )
        function, module = c_void_p(), c_void_p()
        how = "a cubin" if isinstance(kernel, bytes) else "PTX, compiled by the driver"
        image = kernel if isinstance(kernel, bytes) else port(kernel, gpu).encode()
        status, said = self._load(module, image)
        if status in NO_PTX and isinstance(kernel, str):
            how = f"a cubin, because the driver takes no PTX: {describe(driver, status)}"
            try:
                image, _ = assemble(port(kernel, gpu), gpu.capability)
                status, said = self._load(module, image)
            except Absent as error:
                said = f"{said} {error}"
        if status:
            raise Absent(f"the GPU refuses the kernel: {describe(driver, status)} {said}".rstrip())
        name = find_entry(kernel).encode()
        check(driver, driver.cuModuleGetFunction(byref(function), module, c_char_p(name)))
        most = c_int(NUMBERS["CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"])
        check(driver, driver.cuFuncSetAttribute(function, most, c_int(shared)))
        return Loaded(self, module, function, shared, how)

    def _load(self, module: c_void_p, image: bytes) -> tuple[int, str]:
        """The driver's status, and what its compiler says."""
        log = ctypes.create_string_buffer(LOG_LENGTH)
        options = {
            "CU_JIT_ERROR_LOG_BUFFER": ctypes.addressof(log),
            "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES": LOG_LENGTH,  # in the pointer's place
        }
        names = (c_int * len(options))(*(NUMBERS[name] for name in options))
        values = (c_void_p * len(options))(*options.values())
        status = self.driver.cuModuleLoadDataEx(
            byref(module), c_char_p(image + b"\0"), c_uint(len(options)), names, values
        )
        return status, " ".join(log.value.decode(errors="replace").split())[:200]

    def launch(
        self,
        ptx: str,
        arguments: tuple,
        threads: int,
        shared: int,
        blocks: int = 1,
    ) -> int:
        """Run a kernel REPEATS times; nanoseconds of the fastest.

        arguments  arrays, which get back what the last launch left in them, Scratch, and 32-bit
                   integers
        """
        loaded = self.load(ptx, shared)
        time_ns = loaded.run(arguments, threads, blocks, REPEATS)
        loaded.close()
        return round(time_ns)

    def upload(self, array: np.ndarray | Scratch) -> c_uint64:
        """Where a copy, or zeros, lie in the GPU's memory from now on."""
        n_bytes = max(1, array.n_bytes if isinstance(array, Scratch) else array.nbytes)
        size = ctypes.c_size_t(n_bytes)
        status = self.driver.cuMemAlloc_v2(byref(address := c_uint64()), size)
        if status == NUMBERS["CUDA_ERROR_OUT_OF_MEMORY"]:
            raise Absent(f"the {self.name} here has no {n_bytes:,} bytes of memory free")
        check(self.driver, status)
        if isinstance(array, Scratch):
            status = self.driver.cuMemsetD8_v2(address, ctypes.c_ubyte(0), size)
        else:
            source = c_void_p(array.ctypes.data)
            status = self.driver.cuMemcpyHtoD_v2(address, source, ctypes.c_size_t(array.nbytes))
        check(self.driver, status)
        return address


@dataclass(frozen=True)
class Loaded:
    """A kernel on a GPU; `how` tells in which form it came there."""

    device: Device
    module: c_void_p
    function: c_void_p
    shared: int
    how: str

    @property
    def registers(self) -> int:
        """Of a thread, as the driver's compiler has it."""
        return self._attribute("CU_FUNC_ATTRIBUTE_NUM_REGS")

    @property
    def local_bytes(self) -> int:
        """Of a thread, in memory: what did not fit its registers."""
        return self._attribute("CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES")

    def _attribute(self, name: str) -> int:
        wanted = c_int(NUMBERS[name])
        return read(self.device.driver, "cuFuncGetAttribute", c_int, wanted, self.function)

    def run(self, arguments: tuple, threads: int, blocks: int, times: int) -> float:
        """Launch so many times; nanoseconds of the fastest, by events.

        arguments  as of Device.launch

        Raises RunError for a kernel that does what it must not: its context answers nothing more.
        """
        driver = self.device.driver
        held: list[c_int | c_uint64] = []
        events: list[c_void_p] = []
        try:
            for argument in arguments:
                given = isinstance(argument, np.ndarray | Scratch)
                held.append(self.device.upload(argument) if given else c_int(argument))
            for _ in range(2):
                check(driver, driver.cuEventCreate(byref(event := c_void_p()), c_uint(0)))
                events.append(event)
            best = self._repeat(marshal(held), events, threads, blocks, times)
            for array, address in zip(arguments, held, strict=True):
                if isinstance(array, np.ndarray):
                    size = ctypes.c_size_t(array.nbytes)
                    host = c_void_p(array.ctypes.data)
                    check(driver, driver.cuMemcpyDtoH_v2(host, address, size))
        finally:  # a broken context takes nothing back: its first error is the one to tell
            for address in held:
                if isinstance(address, c_uint64):
                    driver.cuMemFree_v2(address)
            for event in events:
                driver.cuEventDestroy_v2(event)
        return best

    def _repeat(
        self,
        pointers: ctypes.Array[c_void_p],
        events: list[c_void_p],
        threads: int,
        blocks: int,
        times: int,
    ) -> float:
        driver, (start, end) = self.device.driver, events
        best = float("inf")
        one = c_uint(1)
        began = time.monotonic()
        for i in range(times):
            if i and time.monotonic() - began > MOST_SECONDS:
                break
            elapsed = c_float()
            check(driver, driver.cuEventRecord(start, None))
            status = driver.cuLaunchKernel(
                self.function, c_uint(blocks), one, one, c_uint(threads), one, one,
                c_uint(self.shared), None, pointers, None,
            )  # fmt: skip
            check(driver, status)
            check(driver, driver.cuEventRecord(end, None))
            check(driver, driver.cuEventSynchronize(end))
            check(driver, driver.cuEventElapsedTime(byref(elapsed), start, end))
            best = min(best, elapsed.value)
        return best * 1e6

    def close(self) -> None:
        check(self.device.driver, self.device.driver.cuModuleUnload(self.module))


def find_gpu(machine: Machine) -> Gpu:
    """What a kernel for a machine is written for: the GPU that is here, where any will do.

    Where none is here it is the H200, whose kernels the interpreter counts, too.
    """
    if machine.name != "cuda":
        return HOPPER
    try:
        return Device.find().gpu
    except Absent:
        return HOPPER


def marshal(held: Sequence[c_int | c_uint64]) -> ctypes.Array[c_void_p]:
    """What cuLaunchKernel takes: where each argument lies, not what it is."""
    return (c_void_p * len(held))(*(ctypes.addressof(argument) for argument in held))


def find_entry(kernel: str | bytes) -> str:
    """The name of the kernel in PTX, or in a cubin: of its section of instructions."""
    if isinstance(kernel, str):
        return parse(kernel).name
    found = SECTION.search(kernel)
    if not found:
        raise ValueError("there is no kernel in this cubin")
    return found[1].decode()
