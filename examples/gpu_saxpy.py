# Computes a*x + y for 16 million numbers on the GPU that the job was given.
#
# It needs no package: it hands a program in PTX to the driver, as CuPy or PyTorch do underneath.
import ctypes
import os
import sys
import time
from array import array

COUNT = 1 << 24

PTX = b"""
.version 6.0
.target sm_50
.address_size 64

.visible .entry saxpy(.param .u64 xs, .param .u64 ys, .param .f32 a, .param .u32 count)
{
    .reg .pred %p;
    .reg .f32 %f<4>;
    .reg .b32 %r<6>;
    .reg .b64 %d<6>;
    ld.param.u64 %d1, [xs];
    ld.param.u64 %d2, [ys];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [count];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p, %r5, %r1;
    @%p bra DONE;
    cvta.to.global.u64 %d1, %d1;
    cvta.to.global.u64 %d2, %d2;
    mul.wide.u32 %d3, %r5, 4;
    add.s64 %d4, %d1, %d3;
    add.s64 %d5, %d2, %d3;
    ld.global.f32 %f2, [%d4];
    ld.global.f32 %f3, [%d5];
    fma.rn.f32 %f3, %f1, %f2, %f3;
    st.global.f32 [%d5], %f3;
DONE:
    ret;
}
\0"""

try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(f"no CUDA driver here; ask for a GPU under \"GPUs\": {error}")


def call(name, *arguments):
    """Calls a function of the driver and stops if it reports an error."""
    status = getattr(cuda, name)(*arguments)
    if status != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(status, ctypes.byref(text))
        sys.exit(f"{name} failed: {(text.value or b'error').decode()} ({status})")


call("cuInit", 0)
count = ctypes.c_int()
call("cuDeviceGetCount", ctypes.byref(count))
name = ctypes.create_string_buffer(100)
device = ctypes.c_int()
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDeviceGetName", name, len(name), device)
print(f"GPUs: {count.value}, {name.value.decode()}")

context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuModuleLoadData", ctypes.byref(module), PTX)
call("cuModuleGetFunction", ctypes.byref(kernel), module, b"saxpy")

a = 2.0
bytes_each = COUNT * 4
xs = array("f", range(1024)) * (COUNT // 1024)
ys = array("f", [1.0]) * COUNT
x_there, y_there = ctypes.c_uint64(), ctypes.c_uint64()
for there, here in ((x_there, xs), (y_there, ys)):
    call("cuMemAlloc_v2", ctypes.byref(there), ctypes.c_size_t(bytes_each))
    address = ctypes.c_void_p(here.buffer_info()[0])
    call("cuMemcpyHtoD_v2", there, address, ctypes.c_size_t(bytes_each))

values = (x_there, y_there, ctypes.c_float(a), ctypes.c_uint32(COUNT))
pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
began = time.perf_counter()
call("cuLaunchKernel", kernel, COUNT // 256, 1, 1, 256, 1, 1, 0, None, pointers, None)
call("cuCtxSynchronize")
print(f"Computed in {(time.perf_counter() - began) * 1000:.2f} ms")

result = ctypes.c_void_p(ys.buffer_info()[0])
call("cuMemcpyDtoH_v2", result, y_there, ctypes.c_size_t(bytes_each))
right = all(ys[i] == a * (i % 1024) + 1.0 for i in range(0, COUNT, 4099))
print("Result:", "right" if right else "WRONG")
with open(os.path.join(os.environ.get("OUTPUT_DIR", "."), "saxpy.txt"), "w") as file:
    print(*ys[:8], file=file)
sys.exit(0 if right else 1)
