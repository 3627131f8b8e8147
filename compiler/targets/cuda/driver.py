"""NVIDIA's driver library through ctypes: where it is, what we call of it, what its errors mean.

Only the driver is needed, which compiles PTX for the GPU that is there.  tests/test_cuda_driver.py
holds every signature and number to NVIDIA's header, cuda.h.

To call another function: its row in SIGNATURES.
Source: NVIDIA, "CUDA Driver API", version 13.0; names that end in _v2 are those of today's ABI.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_char_p, c_int, c_uint, c_uint64, c_void_p
from typing import Any

from anachron.compiler.run import RunError
from anachron.compiler.targets import Absent

LIBRARIES = (
    "libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",  # Windows Subsystem for Linux
    "/run/opengl-driver/lib/libcuda.so.1",  # NixOS
    "nvcuda.dll",
)
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
    "cuModuleLoadDataEx": (POINTER, POINTER, WORD, POINTER, POINTER),
    "cuModuleGetFunction": (POINTER, POINTER, c_char_p),
    "cuModuleUnload": (POINTER,),
    "cuFuncSetAttribute": (POINTER, c_int, c_int),
    "cuFuncGetAttribute": (POINTER, c_int, POINTER),
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
NUMBERS = {  # of cuda.h
    "CU_DEVICE_ATTRIBUTE_CLOCK_RATE": 13,  # kHz
    "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 16,
    "CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT": 17,
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 97,
    "CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES": 3,
    "CU_FUNC_ATTRIBUTE_NUM_REGS": 4,
    "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES": 8,
    "CU_JIT_ERROR_LOG_BUFFER": 5,
    "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES": 6,
    "CUDA_SUCCESS": 0,
    "CUDA_ERROR_OUT_OF_MEMORY": 2,
    "CUDA_ERROR_NO_DEVICE": 100,
    "CUDA_ERROR_NO_BINARY_FOR_GPU": 209,
    "CUDA_ERROR_INVALID_PTX": 218,
    "CUDA_ERROR_JIT_COMPILER_NOT_FOUND": 221,
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": 222,
    "CUDA_ERROR_JIT_COMPILATION_DISABLED": 223,
    "CUDA_ERROR_LAUNCH_TIMEOUT": 702,
}
NO_PTX = tuple(  # what a driver says that will not compile a text: a cubin may still be taken
    NUMBERS[f"CUDA_ERROR_{name}"]
    for name in (
        "NO_BINARY_FOR_GPU", "INVALID_PTX", "JIT_COMPILER_NOT_FOUND", "UNSUPPORTED_PTX_VERSION",
        "JIT_COMPILATION_DISABLED",
    )
)  # fmt: skip
VISIBLE = "CUDA_VISIBLE_DEVICES"


def find_driver() -> Any:
    """The library, with the types of what we call; Absent where there is none."""
    for library in LIBRARIES:
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        for name, kinds in SIGNATURES.items():
            try:
                getattr(driver, name).argtypes = kinds
            except AttributeError:
                raise Absent(f"NVIDIA's driver here is too old: it has no {name}") from None
        return driver
    raise Absent(f"there is no NVIDIA GPU here: no driver ({LIBRARIES[0]})")


def count_gpus(driver: Any) -> int:
    """How many GPUs this process may use; Absent, with the driver's reason, where none."""
    count = c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(byref(count))
    if not status and count.value:
        return count.value
    reason = f": {describe(driver, status)}" if status else ""
    hidden = os.environ.get(VISIBLE)
    seen = "" if hidden is None else f", {VISIBLE} is {hidden!r}"
    raise Absent(f"there is no NVIDIA GPU here, only its driver{reason}{seen}")


def describe(driver: Any, status: int) -> str:
    """An error in the driver's words, and its number."""
    text = c_char_p()
    driver.cuGetErrorString(c_int(status), byref(text))
    return f"{(text.value or b'?').decode()} (CUDA error {status})"


def check(driver: Any, status: int) -> None:
    """RunError, in one line, for anything but success."""
    if status:
        raise RunError(f"the GPU stopped: {describe(driver, status)}")


def read(driver: Any, function: str, kind: Any, *arguments: Any) -> Any:
    """What a function leaves where its first argument points."""
    value = kind()
    check(driver, getattr(driver, function)(byref(value), *arguments))
    return value.value
