//! Whether the disk refuses reads and writes that a reservation excludes, and no others: some targets record reservations
//! and let every initiator write.

use scsi_persistent_reservations::ReservationType;

use super::{NONE, register, release, reserve, step};
use crate::{
    Command, Expect,
    Initiator::{self, One, Two},
    Initiators, Step,
};

/// Node 1 reserves; node 2 tries the disk before it registers and after.
pub fn enforcement(initiators: Initiators, kind: ReservationType) -> Vec<Step> {
    let Initiators { one, two, pair, several_paths, .. } = initiators;
    let mut steps = vec![
        step(One, "registers", register(NONE, one), Expect::Good),
        step(One, "reserves", reserve(one, kind), Expect::Good),
    ];
    // Of several paths a reservation that admits no registrants admits one, and which is used is not known.
    let holder_uses_it = kind.admits_registrants() || !several_paths;
    if holder_uses_it {
        steps.extend(accesses(initiators, One, true, true));
    }
    if pair {
        let reads = !kind.excludes_readers();
        // A block is written back only if it has been read under the same reservation.
        let initiators = Initiators { writes: initiators.writes && (holder_uses_it || reads), ..initiators };
        steps.extend(accesses(initiators, Two, reads, false));
        let admitted = kind.admits_registrants();
        steps.push(step(Two, "registers", register(NONE, two), Expect::Good));
        if holder_uses_it {
            steps.push(step(One, "reads a block again", Command::ReadBlock, Expect::Good));
        }
        steps.extend(accesses(initiators, Two, reads || admitted, admitted));
        steps.extend([
            step(One, "releases", release(one, kind), Expect::Good),
            step(Two, "reads what is not reserved", Command::ReadBlock, Expect::Good),
            step(Two, "unregisters", register(two, NONE), Expect::Good),
        ]);
    } else {
        steps.push(step(One, "releases", release(one, kind), Expect::Good));
    }
    steps.push(step(One, "unregisters", register(one, NONE), Expect::Good));
    steps
}

/// A read, and a write if those are allowed, and what comes of them.
fn accesses(initiators: Initiators, who: Initiator, reads: bool, writes: bool) -> impl Iterator<Item = Step> {
    let access = move |command, admitted, name, refused| {
        let (name, expect) = if admitted { (name, Expect::Good) } else { (refused, Expect::Conflict) };
        step(who, name, command, expect)
    };
    let read = access(Command::ReadBlock, reads, "reads a block", "cannot read");
    let write = initiators.writes.then(|| access(Command::WriteBlock, writes, "writes a block", "cannot write"));
    std::iter::once(read).chain(write)
}
