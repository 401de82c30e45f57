#!/bin/sh
# What KubeVirt's image of QEMU's helper does: virt-handler keeps multipathd's socket at a place of its own, and the
# library looks for it at this one.
set -eu
ln -sfn /var/run/kubevirt/daemons/pr/multipathd.socket "${MULTIPATH_SOCKET_NAME:-/run/multipathd.socket}"
exec /usr/bin/qemu-pr-helper "$@"
