#!/bin/sh
# First and only program of the User-Mode Linux guest. Parameters come on the kernel's command line:
#   uml_mods=DIR   kernel modules      uml_out=DIR   host directory for results, writable
#   uml_job=FILE   script to run; its exit code is left in uml_out/exit
# The root is the host's, read-only by hostfs; writes go to a tmpfs above it and are gone afterwards.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
    case $word in uml_mods=* | uml_out=* | uml_job=*) eval "${word%%=*}='${word#*=}'" ;; esac
done
power_off() {
    sync
    echo o > /proc/sysrq-trigger
    sleep 10
}
trap power_off EXIT
for module in net/can/can drivers/net/can/dev/can-dev drivers/net/can/vcan net/can/can-raw fs/overlayfs/overlay; do
    insmod "$uml_mods/$module.ko"
done
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work /run/root
mount -t overlay overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work /run/root
root=/run/root
mkdir -p $root/run/out
mount -t hostfs none -o "$uml_out" $root/run/out
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t devtmpfs devtmpfs $root/dev
mkdir -p $root/dev/shm $root/dev/pts
mount -t tmpfs tmpfs $root/dev/shm # multiprocessing.shared_memory
mount -t devpts devpts $root/dev/pts
ip link set lo up
ip link add dev vcan0 type vcan
ip link set vcan0 up
code=0
chroot $root /bin/sh "$uml_job" > /run/job.log 2>&1 || code=$?
cp /run/job.log $root/run/out/job.log
echo "$code" > $root/run/out/exit
