//! Releases of Debian that machines are made of.

use std::fmt;

/// A release, which a machine's programs come from. One of multipath-tools stands for the release that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// Debian 12: QEMU 7.2, libvirt 9.0, multipath-tools 0.9.4
    #[default]
    #[value(alias = "0.9.4")]
    Bookworm,
    /// Debian 13: QEMU 10.0, libvirt 11.3, multipath-tools 0.11.1
    #[value(alias = "0.11.1")]
    Trixie,
    /// The next one: QEMU 11.1, libvirt 12.8, multipath-tools 0.15.1
    #[value(alias = "0.15.1")]
    Forky,
    /// All of them, one after the other
    All,
}

impl Suite {
    /// Those that it stands for.
    pub fn each(self) -> &'static [Self] {
        match self {
            Self::Bookworm => &[Self::Bookworm],
            Self::Trixie => &[Self::Trixie],
            Self::Forky => &[Self::Forky],
            Self::All => &[Self::Bookworm, Self::Trixie, Self::Forky],
        }
    }

    /// What Debian calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
            Self::All => "all",
        }
    }

    /// Whether it is what this host has: its packages are unpacked for other beds already.
    pub fn is_hosts_own(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
