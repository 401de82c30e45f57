//! The root of the cluster bed's guests: Debian 13 with Pacemaker, corosync and the fence agents.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::distribution::Recipe;

/// The release that the guests are.
const RELEASE: &str = "trixie";

/// What is installed on it.
const PACKAGES: &[&str] =
    &["corosync", "fence-agents-scsi", "iproute2", "pacemaker", "pacemaker-cli-utils", "procps", "sg3-utils"];

/// Room for it all and for what a guest writes.
const SIZE: &str = "800M";

/// The names of the nodes, and the time that a member may be silent: an emulated one takes its time.
const COROSYNC: &str = "\
totem {
    version: 2
    cluster_name: bed
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: 15000
}
nodelist {
    node {
        ring0_addr: 10.0.0.1
        name: node1
        nodeid: 1
    }
    node {
        ring0_addr: 10.0.0.2
        name: node2
        nodeid: 2
    }
}
quorum {
    provider: corosync_votequorum
    two_node: 1
    wait_for_all: 0
}
logging {
    to_logfile: yes
    logfile: /var/log/corosync.log
    to_syslog: no
}
";

/// The fence device, which unfences a node that joins. The agent is a Python program: each of its runs takes an emulated
/// processor the better part of a minute.
const CIB: &str = r#"<cib crm_feature_set="3.19.0" validate-with="pacemaker-3.9" admin_epoch="0" epoch="10" num_updates="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="options">
        <nvpair id="options-stonith-enabled" name="stonith-enabled" value="true"/>
        <nvpair id="options-stonith-timeout" name="stonith-timeout" value="300s"/>
        <nvpair id="options-no-quorum-policy" name="no-quorum-policy" value="ignore"/>
        <nvpair id="options-recheck" name="cluster-recheck-interval" value="60s"/>
        <nvpair id="options-dc-deadtime" name="dc-deadtime" value="60s"/>
      </cluster_property_set>
    </crm_config>
    <nodes>
      <node id="1" uname="node1"/>
      <node id="2" uname="node2"/>
    </nodes>
    <resources>
      <primitive id="fence" class="stonith" type="fence_scsi">
        <meta_attributes id="fence-meta">
          <nvpair id="fence-meta-provides" name="provides" value="unfencing"/>
        </meta_attributes>
        <instance_attributes id="fence-instance">
          <nvpair id="fence-devices" name="devices" value="/dev/sda"/>
          <nvpair id="fence-hosts" name="pcmk_host_list" value="node1 node2"/>
          <nvpair id="fence-check" name="pcmk_host_check" value="static-list"/>
          <nvpair id="fence-reboot" name="pcmk_reboot_action" value="off"/>
          <nvpair id="fence-on" name="pcmk_on_timeout" value="300s"/>
          <nvpair id="fence-off" name="pcmk_off_timeout" value="300s"/>
          <nvpair id="fence-monitor" name="pcmk_monitor_timeout" value="300s"/>
        </instance_attributes>
        <operations>
          <op id="fence-start" name="start" interval="0s" timeout="300s"/>
          <op id="fence-watch" name="monitor" interval="3600s" timeout="300s"/>
        </operations>
      </primitive>
    </resources>
    <constraints/>
  </configuration>
  <status/>
</cib>
"#;

/// The first process: what systemd would do for the two services, and a shell for what comes down the serial line.
const FIRST: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/crm /run/cluster /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
chown hacluster:haclient /run/crm
node=$(sed -n 's/.*node=\([12]\).*/\1/p' /proc/cmdline)
hostname node$node
echo node$node >/etc/hostname
ip link set lo up
ip address add 10.0.0.$node/24 dev eth0
ip link set eth0 up
corosync -f >/var/log/corosync.out 2>&1 &
until corosync-cfgtool -s >/dev/null 2>&1; do sleep 1; done
pacemakerd -f >/var/log/pacemakerd.out 2>&1 &
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
echo guest ready
while read -r line; do eval "$line" 2>&1; echo "done $?"; done
"#;

/// The disk.
pub fn disk() -> Result<PathBuf> {
    let recipe = Recipe {
        name: "cluster",
        release: RELEASE,
        packages: PACKAGES,
        size: SIZE,
        excludes: &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"],
        hooks: &[
            "chroot \"$1\" chown -R hacluster:haclient /var/lib/pacemaker/cib",
            "chmod 600 \"$1\"/var/lib/pacemaker/cib/cib.xml",
        ],
        additions: &[COROSYNC, CIB, FIRST].concat(),
        add,
    };
    recipe.disk()
}

fn add(folder: &Path) -> Result<()> {
    for (name, content) in [
        ("etc/corosync/corosync.conf", COROSYNC),
        ("var/lib/pacemaker/cib/cib.xml", CIB),
        ("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 node1\n10.0.0.2 node2\n"),
        ("first", FIRST),
    ] {
        let place = folder.join(name);
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        fs::write(place, content)?;
    }
    Ok(fs::set_permissions(folder.join("first"), fs::Permissions::from_mode(0o755))?)
}
