//! The root of the cluster bed's guests: Debian 13 with Pacemaker, corosync, its agents and multipath-tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::distribution::{self, Recipe};

/// The release that the guests are.
const RELEASE: &str = "trixie";

/// What is installed on it.
const PACKAGES: &[&str] = &[
    "corosync",
    "fence-agents-mpath",
    "fence-agents-scsi",
    "iproute2",
    "multipath-tools",
    "pacemaker",
    "pacemaker-cli-utils",
    "procps",
    "resource-agents",
    "sg3-utils",
];

/// Room for it all and for what a guest writes.
const SIZE: &str = "800M";

/// The names of the nodes, and the time that a member may be silent: an emulated one takes its time. The first one goes on
/// alone; the second one alone has no quorum, or both would fence each other: `fence_scsi` registers its own node again first.
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
        quorum_votes: 2
    }
    node {
        ring0_addr: 10.0.0.2
        name: node2
        nodeid: 2
    }
}
quorum {
    provider: corosync_votequorum
    wait_for_all: 0
}
logging {
    to_logfile: yes
    logfile: /var/log/corosync.log
    to_syslog: no
}
";

/// Two fence devices, which unfence a node that joins and which both have to fence one that is cut off, and a resource that
/// one node at a time has the promoted role of. The agents for fencing are Python programs: each of their runs takes an
/// emulated processor the better part of a minute.
const CIB: &str = r#"<cib crm_feature_set="3.19.0" validate-with="pacemaker-3.9" admin_epoch="0" epoch="10" num_updates="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="options">
        <nvpair id="options-stonith-enabled" name="stonith-enabled" value="true"/>
        <nvpair id="options-stonith-action" name="stonith-action" value="off"/>
        <nvpair id="options-stonith-timeout" name="stonith-timeout" value="300s"/>
        <nvpair id="options-no-quorum-policy" name="no-quorum-policy" value="freeze"/>
        <nvpair id="options-recheck" name="cluster-recheck-interval" value="60s"/>
        <nvpair id="options-dc-deadtime" name="dc-deadtime" value="60s"/>
      </cluster_property_set>
    </crm_config>
    <nodes>
      <node id="1" uname="node1"/>
      <node id="2" uname="node2"/>
    </nodes>
    <resources>
FENCE_DEVICES      <clone id="owner">
        <meta_attributes id="owner-meta">
          <nvpair id="owner-meta-promotable" name="promotable" value="true"/>
        </meta_attributes>
        <primitive id="owned" class="ocf" provider="heartbeat" type="sg_persist">
          <instance_attributes id="owned-instance">
            <nvpair id="owned-devs" name="devs" value="/dev/shared/owned"/>
          </instance_attributes>
          <operations>
            <op id="owned-start" name="start" interval="0s" timeout="120s"/>
            <op id="owned-promote" name="promote" interval="0s" timeout="120s"/>
            <op id="owned-demote" name="demote" interval="0s" timeout="120s"/>
            <op id="owned-stop" name="stop" interval="0s" timeout="120s"/>
            <op id="owned-watch" name="monitor" interval="0s" timeout="120s"/>
          </operations>
        </primitive>
      </clone>
    </resources>
    <constraints>
      <rsc_location id="owner-is-first" rsc="owner" role="Promoted" node="node1" score="50"/>
    </constraints>
    <fencing-topology>
      <fencing-level id="both-for-first" target="node1" index="1" devices="fence-disk,fence-map"/>
      <fencing-level id="both-for-second" target="node2" index="1" devices="fence-disk,fence-map"/>
    </fencing-topology>
  </configuration>
  <status/>
</cib>
"#;

/// A fence device, by the name of what it is for.
const FENCE_DEVICE: &str = r#"      <primitive id="fence-NAME" class="stonith" type="AGENT">
        <meta_attributes id="fence-NAME-meta">
          <nvpair id="fence-NAME-meta-provides" name="provides" value="unfencing"/>
        </meta_attributes>
        <instance_attributes id="fence-NAME-instance">
          <nvpair id="fence-NAME-devices" name="devices" value="DEVICE"/>
          <nvpair id="fence-NAME-hosts" name="pcmk_host_HOW" value="HOSTS"/>
          <nvpair id="fence-NAME-check" name="pcmk_host_check" value="static-list"/>
          <nvpair id="fence-NAME-on" name="pcmk_on_timeout" value="300s"/>
          <nvpair id="fence-NAME-off" name="pcmk_off_timeout" value="300s"/>
          <nvpair id="fence-NAME-monitor" name="pcmk_monitor_timeout" value="300s"/>
        </instance_attributes>
        <operations>
          <op id="fence-NAME-start" name="start" interval="0s" timeout="300s"/>
          <op id="fence-NAME-watch" name="monitor" interval="3600s" timeout="300s"/>
        </operations>
      </primitive>
"#;

/// The cluster's configuration with both fence devices.
fn cib() -> String {
    let devices = [
        ("disk", "fence_scsi", "/dev/shared/disk", "list", "node1 node2"),
        ("map", "fence_mpath", "/dev/mapper/mpatha", "map", "node1:a1;node2:a2"),
    ];
    let devices = devices.map(|(name, agent, device, how, hosts)| {
        let words = FENCE_DEVICE.replace("NAME", name).replace("AGENT", agent);
        words.replace("DEVICE", device).replace("HOW", how).replace("HOSTS", hosts)
    });
    CIB.replace("FENCE_DEVICES", &devices.concat())
}

/// multipathd's. Only a disk with two paths becomes a map; each node has a key of its own.
const MULTIPATH: &str = "\
defaults {
    find_multipaths yes
    user_friendly_names yes
    reservation_key 0xaNODE
}
";

/// The first process: what systemd would do for the two services, and a shell for what comes down the serial line.
const FIRST: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/crm /run/cluster /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
chown hacluster:haclient /run/crm
node=$(sed -n 's/.*node=\([12]\).*/\1/p' /proc/cmdline)
sed -i s/NODE/$node/ /etc/multipath.conf
mkdir -p /run/udev /dev/shared
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block
multipathd
# By their places on the bus: the kernel names them in no certain order.
disk() {
    until place=$(ls /sys/bus/scsi/devices/0:0:$1:0/block 2>/dev/null); do sleep 1; done
    ln -s /dev/$place /dev/shared/$2
}
disk 0 disk
disk 3 owned
until [ -e /dev/mapper/mpatha ]; do sleep 1; done
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
        excludes: distribution::DOCUMENTATION,
        hooks: &[
            "chroot \"$1\" chown -R hacluster:haclient /var/lib/pacemaker/cib",
            "chmod 600 \"$1\"/var/lib/pacemaker/cib/cib.xml",
        ],
        additions: &[COROSYNC, &cib(), MULTIPATH, FIRST].concat(),
        add,
    };
    recipe.disk()
}

fn add(folder: &Path) -> Result<()> {
    for (name, content) in [
        ("etc/corosync/corosync.conf", COROSYNC),
        ("var/lib/pacemaker/cib/cib.xml", &cib()),
        ("etc/multipath.conf", MULTIPATH),
        ("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 node1\n10.0.0.2 node2\n"),
        ("first", FIRST),
    ] {
        let place = folder.join(name);
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        fs::write(place, content)?;
    }
    Ok(fs::set_permissions(folder.join("first"), fs::Permissions::from_mode(0o755))?)
}
