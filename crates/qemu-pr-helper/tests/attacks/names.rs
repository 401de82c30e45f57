//! What clients do to the names of processes, units and disks.
