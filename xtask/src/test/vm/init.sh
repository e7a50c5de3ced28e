#!/usr/bin/busybox sh
# The first process of the virtual machine: makes it ready, runs the scenario that the kernel's
# command line names, says how that ended, and turns the machine off. Under systemd, which is the
# first process itself then, it is called once more, with the exit status, to do the last of these.
export PATH=/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8
alias mount='busybox mount' mkdir='busybox mkdir' cp='busybox cp'

finish() {
    # Of the whole machine's memory, and not of a group's.
    busybox dmesg | busybox grep 'Out of memory: Killed'
    echo "VM-END rc=$1"
    busybox poweroff -f
}

if [ -n "$1" ]; then
    finish "$1"
fi

if [ ! -e /moved ]; then
    # The sandbox changes its root, which a process on a kernel's first file system cannot.
    mkdir /new
    mount -t tmpfs -o mode=755,size=90% root /new
    for entry in /*; do
        [ "$entry" = /new ] || cp -a "$entry" /new/
    done
    : > /new/moved
    exec busybox switch_root /new /init
fi

mount -t proc proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
busybox ip link set lo up
busybox hostname vm

scenario=$(busybox sed -n 's/.*scenario=\([a-z]*\).*/\1/p' /proc/cmdline)
top=/sys/fs/cgroup
if [ "$scenario" = systemd ]; then
    # It mounts the groups by itself, as on a student's machine.
    exec /usr/lib/systemd/systemd --system --unit=trial.target --log-target=console --log-level=err \
        --show-status=no
fi
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 $top

# What systemd does for a service with Delegate=.
delegate() {
    echo "+cpu +cpuset +memory +pids +io" > $top/cgroup.subtree_control
    mkdir $top/delegated
    for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do
        busybox chown student:student $top/delegated/$file
    done
    # Whoever writes: the number in $$ is that of the shell around this one.
    echo 0 > $top/delegated/cgroup.procs
}

case "$scenario" in
    hello) true ;;
    root) /trial ;;
    delegated)
        (
            delegate
            export HOME=/home/student
            # By its path: busybox has one of its own that cannot do this.
            exec /usr/bin/setpriv --reuid=student --regid=student --init-groups /trial
        )
        ;;
    *) echo "no such scenario: $scenario"; false ;;
esac
finish $?
