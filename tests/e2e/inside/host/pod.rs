//! A node of KubeVirt's: the image of this project, run as its DaemonSet says, beside the host's own multipathd.

use std::fs;
use std::time::Duration;

use anyhow::ensure;

use super::command::{property, sh};
use super::unit;
use crate::node::Node;
use crate::report::Report;
use crate::wait;

/// Where virt-handler waits for the socket.
const SOCKET: &str = "/var/run/kubevirt/daemons/pr/pr-helper.sock";

/// What runs the container as a service of the host.
const START: &str = "systemd-run --quiet --collect --unit=pod.service --property=Type=exec \
                     unshare --mount --propagation=private sh /bed/pod/pr-helper";

/// An emulated machine starts another root's programs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tries it on a map of the host's.
pub fn run(report: &mut Report, paths: &[Node; 2]) {
    report.check("run as KubeVirt's DaemonSet says, the image's helper changes a multipath map on both paths", || {
        sh(START)?;
        wait::until("the pod's socket", PATIENCE, || Ok(fs::exists(SOCKET)?.then_some(())))?;
        // What virt-handler does, for QEMU's user.
        sh(&format!("chown 107:107 $(dirname {SOCKET}) {SOCKET}"))?;
        unit::changes_map(SOCKET, paths)?;
        sh("systemctl stop pod.service")?;
        let result = property("pod.service", "Result")?;
        ensure!(result == "success", "the pod ends with {result}");
        Ok(())
    });
}
