#!/bin/sh
# What KubeVirt's image of QEMU's helper does: virt-handler keeps multipathd's socket at a place of its own, and the
# library looks for it at this one.
set -eu
folder=/var/run/kubevirt/daemons/pr
ln -sfn "$folder/multipathd.socket" "${MULTIPATH_SOCKET_NAME:-/run/multipathd.socket}"
# What is made in the folder belongs to the group that QEMU has in KubeVirt. Before 1.9, virt-handler gives guests the socket
# that it finds when it starts, and not the one of a helper that is started again.
if [ -d "$folder" ]; then
    chgrp 107 "$folder"
    chmod g+s "$folder"
fi
exec /usr/bin/qemu-pr-helper "$@"
