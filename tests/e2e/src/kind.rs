//! Which machines there are, and how much is tried in them.

/// Which machine to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Two initiators of one LUN, without a guest
    Kernel,
    /// libiscsi's own tests of persistent reservations on that LUN, as Debian has them
    Libiscsi,
    /// The same LUN, shared by the machine and a QEMU guest inside it
    Guest,
    /// A guest with a reservation that migrates from one initiator of a LUN to the other, and back
    Migration,
    /// Two guests that are a Pacemaker cluster, with `fence_scsi`, `fence_mpath` on a map of two paths, and `sg_persist`
    Cluster,
    /// One LUN as a dm-multipath map over two paths, with udev and multipathd, and a third initiator beside it
    Multipath,
    /// A map over four paths in two target port groups: random commands while another node acts, paths fail and
    /// processes are killed, each answer held against one disk
    MultipathRandom,
    /// That map, passed through to a QEMU guest
    MultipathGuest,
    /// That map and a guest that is never run: what `qemu-pr-ctl doctor` says when one thing after the other is broken
    Doctor,
    /// A node of `KubeVirt`'s: that map with multipathd, and this project's container image, whose `DaemonSet`'s pod is
    /// played by podman
    Kubevirt,
    /// A whole Debian with systemd and libvirt, this project's package installed on it, and two guests
    Host,
    /// The same Debian, on which somebody who has just got the package follows the manual, word for word
    Manual,
    /// A Debian with systemd and SELinux, enforcing, on which the RPM package and its policy module are installed
    Selinux,
    /// The LUN of the first bed, on which `cargo xtask bench` measures
    #[value(skip)]
    Bench,
    /// Maps of four paths, on which `cargo xtask bench --multipath` measures
    #[value(skip)]
    BenchMultipath,
}

impl Kind {
    /// The word that names the bed on a command line, here and inside the machine.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Libiscsi => "libiscsi",
            Kind::Guest => "guest",
            Kind::Migration => "migration",
            Kind::Cluster => "cluster",
            Kind::Multipath => "multipath",
            Kind::MultipathRandom => "multipath-random",
            Kind::MultipathGuest => "multipath-guest",
            Kind::Doctor => "doctor",
            Kind::Kubevirt => "kubevirt",
            Kind::Host => "host",
            Kind::Manual => "manual",
            Kind::Selinux => "selinux",
            Kind::Bench => "bench",
            Kind::BenchMultipath => "bench-multipath",
        }
    }

    /// Whether a guest boots inside.
    pub fn has_guest(self) -> bool {
        matches!(self, Kind::Guest | Kind::Migration | Kind::Cluster | Kind::MultipathGuest | Kind::Host | Kind::Manual)
    }

    /// Whether there is a QEMU in it.
    pub fn has_qemu(self) -> bool {
        self.has_guest() || self == Kind::Doctor
    }

    /// Whether it is a whole distribution, on which packages are installed.
    pub fn is_distribution(self) -> bool {
        matches!(self, Kind::Host | Kind::Manual)
    }

    /// Whether its programs may be those of another release of Debian than the usual one.
    pub fn has_suites(self) -> bool {
        matches!(self, Kind::MultipathRandom | Kind::Host | Kind::Manual)
    }

    /// Whether this project's package is installed in it.
    pub fn installs_package(self) -> bool {
        self.is_distribution() || self == Kind::Selinux
    }

    /// The parts of its checks, each of which is made in a machine of its own, all at the same time.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            // As whom the helper runs: half of the time is spent waiting for multipathd.
            Kind::Multipath => &["root", "nobody"],
            // What the guest has on the first host.
            Kind::Migration => &["disk", "map"],
            _ => &[""],
        }
    }

    /// Whether multipathd looks after a map.
    pub fn has_multipath(self) -> bool {
        matches!(
            self,
            Kind::Migration
                | Kind::Multipath
                | Kind::MultipathRandom
                | Kind::MultipathGuest
                | Kind::Doctor
                | Kind::Kubevirt
                | Kind::BenchMultipath
        )
    }
}

/// How often a bed does what is repeated in it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Amount {
    /// As often as every change has time for.
    #[default]
    Short,
    /// As often as a release has to pass.
    Full,
}

impl Amount {
    /// The word for the program inside; none is needed for what is usual.
    pub fn word(self) -> &'static str {
        match self {
            Amount::Short => "",
            Amount::Full => "full",
        }
    }
}
