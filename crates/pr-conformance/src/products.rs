//! Which software needs which sequences of a disk.

/// Software that uses reservations, and the sequences that a disk has to pass for it.
pub struct Product {
    /// Its name, and the part of it.
    pub name: &'static str,
    /// The names of its own sequences, and of those for the types that it reserves with.
    pub needs: &'static [&'static str],
}

/// What each of them needs as well.
pub const COMMON: &str = "basics";

/// All that sequences are known of.
pub const PRODUCTS: [Product; 8] = [
    Product {
        name: "Windows Server Failover Clustering",
        needs: &["windows-failover-clustering", "windows-arbitration", "enforcement-type-5"],
    },
    Product { name: "Pacemaker: fence_scsi", needs: &["fence_scsi", "enforcement-type-5"] },
    Product {
        name: "Pacemaker: fence_scsi 4.16 and newer",
        needs: &["fence_scsi", "fence_scsi-4.16", "enforcement-type-5"],
    },
    Product { name: "Pacemaker: fence_mpath", needs: &["fence_mpath", "enforcement-type-5"] },
    Product { name: "Pacemaker: ocf:heartbeat:sg_persist", needs: &["ocf-sg_persist", "enforcement-type-1"] },
    Product {
        name: "LVM: vgchange --persist",
        needs: &["lvm-persist", "lvm-persist-2.03.36", "enforcement-type-1", "enforcement-type-7"],
    },
    Product {
        name: "QEMU 11.0: live migration",
        needs: &["qemu-11-migrate-pr", "qemu-11-migrate-key", "enforcement-type-5"],
    },
    Product {
        name: "QEMU 11.1 and newer: live migration",
        needs: &["qemu-11-migrate-pr", "qemu-11.1-migrate-key", "enforcement-type-5"],
    },
];

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;
    use crate::ALL;

    #[test]
    fn what_a_product_needs_is_there_and_each_sequence_of_software_is_needed() {
        let names = || ALL.iter().map(|sequence| sequence.name);
        let needed = || PRODUCTS.iter().flat_map(|product| product.needs.iter().copied()).chain([COMMON]);
        for name in needed() {
            assert!(names().any(|other| other == name), "{name}");
        }
        for name in names().filter(|name| *name != "rules" && !name.starts_with("enforcement")) {
            assert!(needed().any(|other| other == name), "{name}");
        }
    }
}
