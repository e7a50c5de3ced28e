//! Ordinary programs that need more of the kernel than most, and calls that none of them needs.

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Rig, Task};

#[tokio::test]
async fn programs_that_need_much_of_the_kernel_run() {
    let Some(rig) = Rig::full().await else { return };
    let pools = "import concurrent.futures, multiprocessing, subprocess, tempfile, threading
def square(x): return x * x
if __name__ == '__main__':
    with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)))
    with concurrent.futures.ThreadPoolExecutor(4) as pool: print(*pool.map(square, range(4)))
    print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='')
    with tempfile.TemporaryDirectory() as place: open(place + '/x', 'w').close()
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10) \
        if hasattr(multiprocessing, 'shared_memory') else None
    lock = multiprocessing.Lock()
    with lock: print('locked')";
    let ran = rig.run(Task::python(pools)).await;
    assert_eq!(ran.stdout, "[0, 1, 4, 9]\n0 1 4 9\nchild\nlocked\n", "{}", ran.stderr);

    let network = "import socket, asyncio
async def main():
    async def greet(reader, writer): writer.write(b'hello\\n'); writer.close()
    server = await asyncio.start_server(greet, '127.0.0.1', 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    print(await reader.readline(), socket.gethostbyname('localhost'), socket.gethostname())
asyncio.run(main())";
    let ran = rig.run(Task::python(network)).await;
    assert_eq!(ran.stdout, "b'hello\\n' 127.0.0.1 job\n", "{}", ran.stderr);
}

#[tokio::test]
async fn a_compiler_and_threads_of_openmp_run() {
    let Some(rig) = Rig::full().await else { return };
    let source = "#include <stdio.h>
int main(void) { int n = 0;
#pragma omp parallel reduction(+:n) num_threads(3)
n++; printf(\"%d\\n\", n); }";
    let mut task = Task::argv(&["gcc", "-fopenmp", "-o", "program", "main.c"]);
    task.files.push(("main.c".into(), source.into()));
    let ran = rig.run(task.then(Task::argv(&["./program"]))).await;
    if ran.report.exit == Exit::Code(127) {
        return; // There is no compiler here.
    }
    assert_eq!(ran.stdout, "3\n", "{:?} {}", ran.report.exit, ran.stderr);
}

#[tokio::test]
async fn calls_that_only_attacks_need_are_refused() {
    let Some(rig) = Rig::full().await else { return };
    // Numbers of x86_64; those of newer calls are the same everywhere.
    let script = "import ctypes, errno, fcntl, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(what, number, *arguments):
    if libc.syscall(number, *arguments) != -1: print('BREACH', what)
if platform.machine() == 'x86_64':
    for what, number in dict(ptrace=101, process_vm_readv=310, add_key=248, request_key=249,
            keyctl=250, bpf=321, perf_event_open=298, userfaultfd=323, modify_ldt=154,
            name_to_handle_at=303, open_by_handle_at=304, kexec_load=246, init_module=175,
            swapon=167, reboot=169, fanotify_init=300, unshare=272, setns=308, mount=165,
            pivot_root=155, chroot=161, iopl=172, syslog=103, quotactl=179).items():
        refused(what, number, 0, 0, 0, 0, 0)
    refused('clone with a user namespace', 56, 0x10000011, 0, 0, 0, 0)
    refused('personality', 135, 0x400000)
    refused('prlimit of another', 302, 1, 7, 0, 0)
for what, number in dict(io_uring_setup=425, pidfd_getfd=438, memfd_secret=447, clone3=435,
        open_tree=428, fsopen=430, mount_setattr=442, kcmp=312, process_madvise=440).items():
    refused(what, number, 0, 0, 0, 0, 0)
for family in socket.AF_VSOCK, socket.AF_PACKET, 38, 44, 31:
    try: socket.socket(family, socket.SOCK_RAW); print('BREACH family', family)
    except OSError: pass
try: fcntl.fcntl(open('/usr/bin/env'), 1024, 0); print('BREACH lease')
except OSError: pass
os.mkfifo('/tmp/pipe')
try: os.mknod('/tmp/device', 0o20600, os.makedev(1, 3)); print('BREACH device')
except OSError: pass
os.sync()
print('held')";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.stdout, "held\n", "{}", ran.stderr);
}

#[tokio::test]
async fn the_process_above_a_task_is_closed_to_it() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import os, signal
for name in 'environ', 'mem', 'maps', 'fd/0', 'exe', 'root/usr', 'cwd':
    try: os.stat(f'/proc/1/{name}'); print('BREACH', name)
    except OSError: pass
for number in signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM: os.kill(1, number)
print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')) <= 4)
print(os.getsid(0) == os.getpid(), os.getppid())";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.stdout, "['0', '1', '2'] True\nTrue 1\n", "{}", ran.stderr);
    assert_eq!(ran.report.exit, Exit::Code(0));
}
