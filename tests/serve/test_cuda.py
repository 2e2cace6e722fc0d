"""The calls of NVIDIA's libraries, against small C libraries of the same names that keep a GPU's books in main memory.

They hold the calls to the types and the order of arguments that the headers of CUDA and NVML declare.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segx_core import runtime
from segx_serve.buffers import CudaWay
from segx_serve.cuda import Cuda, DeviceMemoryError
from segx_serve.gpu_memory import GpuMemory

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

CUDART = r"""
#include <stdlib.h>
#include <string.h>
int held = 0, limit = 1 << 20, streams = 0, waiting = 0;
static int take(void **place, size_t size) {
    if (size > (size_t)limit) return 2;
    *place = malloc(size); held++; return 0;
}
int cudaMalloc(void **place, size_t size) { return take(place, size); }
int cudaHostAlloc(void **place, size_t size, unsigned flags) { return flags ? 1 : take(place, size); }
int cudaFree(void *place) { free(place); held--; return 0; }
int cudaFreeHost(void *place) { return cudaFree(place); }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    if (flags != 1) return 1;
    *stream = malloc(1); streams++; return 0;
}
int cudaStreamDestroy(void *stream) { free(stream); streams--; return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    if (!stream || kind < 1 || kind > 2) return 400;
    memcpy(to, from, size); waiting++; return 0;
}
int cudaStreamSynchronize(void *stream) { if (!stream) return 400; waiting = 0; return 0; }
const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "invalid value"; }
"""

NVML = r"""
#include <unistd.h>
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } process;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *room) {
    unsigned there = device == (void *)1 ? 100 : 2, space = *count;
    *count = there;
    if (space < there) return 7;
    for (unsigned i = 0; i < there; i++) room[i] = (process){1, 1000, 0, 0};
    room[there - 1] = (process){OWN, ((unsigned long long)5 << 32) + (device == (void *)1), 0, 0};
    return 0;
}
"""


def built(folder: Path, source: str, *flags: str) -> Path:
    (folder / "library.c").write_text(source)
    out = folder / "library.so"
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", out, folder / "library.c"], check=True, timeout=60)
    return out


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    return ctypes.CDLL(str(built(tmp_path_factory.mktemp("cudart"), CUDART)))


def number(library: ctypes.CDLL, name: str) -> int:
    return ctypes.c_int.in_dll(library, name).value


def test_bytes_go_there_and_back(library):
    way = CudaWay(Cuda(library))
    pair = way.pair(1000)
    assert pair.host.shape == (1000,)
    sent = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    pair.host[:] = sent
    way.upload(pair, 700)
    assert number(library, "waiting") == 0
    there = np.frombuffer((ctypes.c_uint8 * 1000).from_address(pair.address), np.uint8)
    assert np.array_equal(there[:700], sent[:700])
    pair.host[:] = 0
    way.download(pair, 600)
    assert np.array_equal(pair.host, np.concatenate([sent[:600], np.zeros(400, np.uint8)]))
    assert number(library, "waiting") == 0


# In a process of its own: what else lives in this one (debuggers, caught exceptions) may hold a view for longer.
LAST_VIEW = """
import ctypes, gc, sys
from segx_serve.buffers import CudaWay
from segx_serve.cuda import Cuda

library = ctypes.CDLL(sys.argv[1])
books = lambda: tuple(ctypes.c_int.in_dll(library, name).value for name in ("held", "streams"))
way = CudaWay(Cuda(library))
pair = way.pair(64)
assert books() == (2, 1), books()
view = pair.host[8:16].reshape(2, 4)
del pair, way
gc.collect()
assert books() == (1, 0), books()
view[:] = 7
del view
gc.collect()
assert books() == (0, 0), books()
"""


def test_memory_goes_with_the_last_view_of_it(library):
    done = subprocess.run([sys.executable, "-c", LAST_VIEW, library._name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_device_is_told_from_other_troubles(library):
    cuda = Cuda(library)
    before = number(library, "held")
    with pytest.raises(DeviceMemoryError, match="cudaMalloc: out of memory"):
        CudaWay(cuda).pair(2**21)
    with pytest.raises(DeviceMemoryError, match="cudaHostAlloc: out of memory"):
        cuda.pinned(2**21)
    gc.collect()
    assert number(library, "held") == before
    with pytest.raises(RuntimeError, match="cudaMemcpyAsync: invalid value"):
        cuda._call("cudaMemcpyAsync", None, None, ctypes.c_size_t(0), ctypes.c_int(9), ctypes.c_void_p(1))


@pytest.mark.skipif(runtime.trouble(runtime.CUDA) is None, reason="a GPU works here")
def test_without_a_gpu_the_real_library_says_why():
    with pytest.raises((RuntimeError, runtime.SetupError), match=r"CUDA|cudart"):
        Cuda().stream()


def test_memory_of_this_process_on_all_gpus(tmp_path):
    memory = GpuMemory(str(built(tmp_path, NVML, f"-DOWN={os.getpid()}")))
    assert memory.used() == 2 * (5 << 32) + 1


def test_memory_that_cannot_be_found_out_is_none(tmp_path):
    assert GpuMemory(str(tmp_path / "missing.so")).used() is None
    others = built(tmp_path, NVML, "-DOWN=1")
    assert GpuMemory(str(others)).used() is None
    (tmp_path / "old").mkdir()
    old = built(tmp_path / "old", "int nvmlInit_v2(void) { return 0; }")
    assert GpuMemory(str(old)).used() is None
