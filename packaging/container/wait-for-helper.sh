#!/bin/sh
# Waits for the right moment to start something else, as an init container.
#
#     wait-for-helper.sh SOCKET SECONDS    until a helper answers, but no longer than that: before virt-handler, which looks
#                                          for the socket when it starts. A file that nobody listens at does not count.
#                                          It succeeds in any case: without virt-handler nobody looks after the node's
#                                          virtual machines, of which most share no disk.
#     wait-for-helper.sh --gone SOCKET     until no helper answers any more: before another one, which takes the socket
#                                          from none that serves.
set -eu

answers() {
    timeout 10 /usr/bin/qemu-pr-ctl ping --requests 1 --socket "$1" >/dev/null 2>&1
}

if [ "$1" = --gone ]; then
    while answers "$2"; do
        sleep 1
    done
    exit 0
fi
end=$(($(date +%s) + $2))
until answers "$1"; do
    if [ "$(date +%s)" -ge "$end" ]; then
        echo "no helper answers at $1 after $2 s; virt-handler starts without devices.kubevirt.io/pr-helper: see to the" \
            "DaemonSet qemu-pr-helper on this node, then delete this pod" >&2
        exit 0
    fi
    sleep 1
done
