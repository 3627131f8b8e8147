"""A GPU, through NVIDIA's driver library: load PTX, launch once, time it by events.

Only the driver is needed, which compiles PTX for the GPU that is there.  None of this has run on
one yet: unverified.
Source: NVIDIA, "CUDA Driver API", version 13.0: cuInit, cuModuleLoadData, cuLaunchKernel, cuEvent*;
the names ending in _v2 are those of the current ABI (cuda.h).
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

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.inspection import assemble
from anachron.emulators.ptx.syntax import parse

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: cuda.h
CLOCK_KHZ = 13  # CU_DEVICE_ATTRIBUTE_CLOCK_RATE: cuda.h
REFUSED = (209, 218, 222)  # no image for this GPU, invalid PTX, unsupported PTX version: cuda.h
VERSION = re.compile(r"^\.version\s+\S+", re.M)
SECTION = re.compile(rb"\0\.text\.([\w$]+)\0")
MOST_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: cuda.h
NAME_LENGTH = 100
REPEATS = 20  # timed launches, of which the fastest counts; the first ones warm the clocks
MOST_SECONDS = 2.0  # of all launches together, beyond which no other begins
OLDEST_PTX = ".version 8.0"  # has all that our kernels use: drivers of CUDA 12.0 on
WORD, SIZE, ADDRESS, POINTER = c_uint, ctypes.c_size_t, c_uint64, c_void_p
SIGNATURES: dict[str, tuple[Any, ...]] = {  # cuda.h; all give a CUresult, an int
    "cuInit": (WORD,),
    "cuDriverGetVersion": (POINTER,),
    "cuGetErrorString": (c_int, POINTER),
    "cuDeviceGetCount": (POINTER,),
    "cuDeviceGet": (POINTER, c_int),
    "cuDeviceGetName": (POINTER, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER, c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER, c_int),
    "cuCtxSetCurrent": (POINTER,),
    "cuModuleLoadData": (POINTER, POINTER),
    "cuModuleGetFunction": (POINTER, POINTER, c_char_p),
    "cuModuleUnload": (POINTER,),
    "cuFuncSetAttribute": (POINTER, c_int, c_int),
    "cuLaunchKernel": (POINTER, *[WORD] * 7, POINTER, POINTER, POINTER),
    "cuMemAlloc_v2": (POINTER, SIZE),
    "cuMemFree_v2": (ADDRESS,),
    "cuMemsetD8_v2": (ADDRESS, ctypes.c_ubyte, SIZE),
    "cuMemcpyHtoD_v2": (ADDRESS, POINTER, SIZE),
    "cuMemcpyDtoH_v2": (POINTER, ADDRESS, SIZE),
    "cuEventCreate": (POINTER, WORD),
    "cuEventRecord": (POINTER, POINTER),
    "cuEventSynchronize": (POINTER,),
    "cuEventElapsedTime": (POINTER, POINTER, POINTER),
    "cuEventDestroy_v2": (POINTER,),
}


@dataclass(frozen=True)
class Scratch:
    """An argument that is memory of the GPU alone: zeros at first, and not brought back."""

    n_bytes: int


@dataclass(frozen=True)
class Device:
    """The first GPU, with its context current in this thread."""

    driver: Any
    name: str

    @classmethod
    def open(cls, wanted: str = "") -> Device:
        """The GPU, if there is one and `wanted` is in its name; otherwise Absent says what is."""
        driver = _find_driver()
        count, number, context = c_int(), c_int(), c_void_p()
        if driver.cuInit(0) or driver.cuDeviceGetCount(byref(count)) or not count.value:
            raise Absent("there is no NVIDIA GPU here, only its driver")
        _check(driver, driver.cuDeviceGet(byref(number), 0))
        name = ctypes.create_string_buffer(NAME_LENGTH)
        _check(driver, driver.cuDeviceGetName(name, NAME_LENGTH, number))
        found = name.value.decode()
        if wanted not in found:
            raise Absent(f"the GPU here is a {found}: use --on cuda")
        _check(driver, driver.cuDevicePrimaryCtxRetain(byref(context), number))
        _check(driver, driver.cuCtxSetCurrent(context))
        return cls(driver, found)

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at once, where one fills a multiprocessor."""
        return self._attribute(MULTIPROCESSORS)

    @property
    def clock_hz(self) -> int:
        """The highest clock of the multiprocessors."""
        return 1000 * self._attribute(CLOCK_KHZ)

    @property
    def driver_version(self) -> str:
        """The newest CUDA that the driver takes."""
        number = c_int()
        _check(self.driver, self.driver.cuDriverGetVersion(byref(number)))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def _attribute(self, which: int) -> int:
        value = c_int()
        status = self.driver.cuDeviceGetAttribute(byref(value), c_int(which), c_int(0))
        _check(self.driver, status)
        return value.value

    def load(self, kernel: str | bytes, shared: int) -> Loaded:
        """A kernel ready to be launched: PTX, which the driver compiles, or a cubin.

        A driver older than the PTX refuses it: then it is offered as what it also is, PTX of an
        older version, and then as a cubin, if ptxas is here.
        """
        driver = self.driver
        module, function = c_void_p(), c_void_p()
        how = "a cubin" if isinstance(kernel, bytes) else "PTX, compiled by the driver"
        image = kernel if isinstance(kernel, bytes) else kernel.encode() + b"\0"
        status = driver.cuModuleLoadData(byref(module), c_char_p(image))
        if status in REFUSED and isinstance(kernel, str):
            how = "PTX as of version 8.0, compiled by the driver"
            image = VERSION.sub(OLDEST_PTX, kernel, count=1).encode() + b"\0"
            status = driver.cuModuleLoadData(byref(module), c_char_p(image))
        if status in REFUSED and isinstance(kernel, str):
            try:
                image, _ = assemble(kernel)
            except Absent:
                _check(driver, status)
            how = "a cubin, because the driver refuses the PTX"
            status = driver.cuModuleLoadData(byref(module), c_char_p(image))
        _check(driver, status)
        name = find_entry(kernel).encode()
        _check(driver, driver.cuModuleGetFunction(byref(function), module, c_char_p(name)))
        _check(driver, driver.cuFuncSetAttribute(function, MOST_DYNAMIC_SHARED, c_int(shared)))
        return Loaded(self, module, function, shared, how)

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

    def _upload(self, array: np.ndarray | Scratch) -> c_uint64:
        n_bytes = array.n_bytes if isinstance(array, Scratch) else array.nbytes
        address, size = c_uint64(), ctypes.c_size_t(n_bytes)
        _check(self.driver, self.driver.cuMemAlloc_v2(byref(address), size))
        if isinstance(array, Scratch):
            _check(self.driver, self.driver.cuMemsetD8_v2(address, 0, size))
            return address
        source = c_void_p(array.ctypes.data)
        _check(self.driver, self.driver.cuMemcpyHtoD_v2(address, source, size))
        return address


@dataclass(frozen=True)
class Loaded:
    """A kernel on a GPU; `how` tells in which form it came there."""

    device: Device
    module: c_void_p
    function: c_void_p
    shared: int
    how: str

    def run(self, arguments: tuple, threads: int, blocks: int, times: int) -> float:
        """Launch so many times; nanoseconds of the fastest, by events.

        arguments  as of Device.launch
        """
        driver = self.device.driver
        held = [
            self.device._upload(a) if isinstance(a, np.ndarray | Scratch) else c_int(a)
            for a in arguments
        ]
        pointers = marshal(held)
        start, end = c_void_p(), c_void_p()
        for event in (start, end):
            _check(driver, driver.cuEventCreate(byref(event), c_uint(0)))
        best = float("inf")
        one = c_uint(1)
        began = time.monotonic()
        for i in range(times):
            if i and time.monotonic() - began > MOST_SECONDS:
                break
            elapsed = c_float()
            _check(driver, driver.cuEventRecord(start, None))
            status = driver.cuLaunchKernel(
                self.function, c_uint(blocks), one, one, c_uint(threads), one, one,
                c_uint(self.shared), None, pointers, None,
            )  # fmt: skip
            _check(driver, status)
            _check(driver, driver.cuEventRecord(end, None))
            _check(driver, driver.cuEventSynchronize(end))
            _check(driver, driver.cuEventElapsedTime(byref(elapsed), start, end))
            best = min(best, elapsed.value)
        for array, address in zip(arguments, held, strict=True):
            if isinstance(array, np.ndarray):
                size = ctypes.c_size_t(array.nbytes)
                host = c_void_p(array.ctypes.data)
                _check(driver, driver.cuMemcpyDtoH_v2(host, address, size))
            if isinstance(array, np.ndarray | Scratch):
                _check(driver, driver.cuMemFree_v2(address))
        for event in (start, end):
            _check(driver, driver.cuEventDestroy_v2(event))
        return best * 1e6

    def close(self) -> None:
        _check(self.device.driver, self.device.driver.cuModuleUnload(self.module))


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


def _find_driver() -> Any:
    for library in LIBRARIES:
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        for name, kinds in SIGNATURES.items():
            getattr(driver, name).argtypes = kinds
        return driver
    raise Absent(f"there is no NVIDIA GPU here: no driver ({LIBRARIES[0]})")


def _check(driver: Any, status: int) -> None:
    if status:
        text = c_char_p()
        driver.cuGetErrorString(c_int(status), byref(text))
        raise Absent(f"the GPU refuses: {(text.value or b'?').decode()} (CUDA error {status})")
