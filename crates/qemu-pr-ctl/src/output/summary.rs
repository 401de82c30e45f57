//! Everything about a disk: registrations, reservation, and what each initiator may do now.

use std::{fmt::Write as _, path::Path};

use pr_sim::{CommandClass, InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{OutAction, PrOut, ReservationKey, ReservationType};
use serde::Serialize;

use super::{json, text};

/// The answers of a disk to all that it can be asked.
pub struct Summary {
    reservation: Vec<u8>,
    keys: Vec<u8>,
    /// Not every disk has a READ FULL STATUS.
    status: Option<Vec<u8>>,
    kind: Option<ReservationType>,
}

/// What `--json` prints.
#[derive(Serialize)]
pub struct Shape {
    keys: json::Keys,
    reservation: json::Reservation,
    status: Option<json::Status>,
    access: Vec<Row>,
}

/// Who may do what.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the table")]
pub struct Row {
    who: &'static str,
    reads: bool,
    writes: bool,
    reserves: bool,
    preempts: bool,
}

impl Summary {
    /// Of what the disk answered. `kind` is the type of the reservation.
    pub const fn new(
        keys: Vec<u8>,
        reservation: Vec<u8>,
        status: Option<Vec<u8>>,
        kind: Option<ReservationType>,
    ) -> Self {
        Self { reservation, keys, status, kind }
    }

    /// For programs.
    pub fn shape(&self) -> Option<Shape> {
        Some(Shape {
            keys: json::keys(&self.keys)?,
            reservation: json::reservation(&self.reservation)?,
            status: self.status.as_deref().and_then(json::status),
            access: access(self.kind),
        })
    }

    /// For people.
    pub fn text(&self, device: &Path) -> Option<String> {
        let mut text = match &self.status {
            Some(status) => text::full_status(device, status)?,
            None => text::keys(device, &self.keys)?,
        };
        let reservation = text::reservation(device, &self.reservation)?;
        text.push('\n');
        text.push_str(&reservation);
        text.push('\n');
        let _ = writeln!(text, "{:<44}  {:^8}{:^8}{:^8}{:^8}", "now", "read", "write", "reserve", "preempt");
        for row in access(self.kind) {
            let word = |may: bool| if may { "yes" } else { "no" };
            let _ = writeln!(
                text,
                "  {:<42}  {:^8}{:^8}{:^8}{:^8}",
                row.who,
                word(row.reads),
                word(row.writes),
                word(row.reserves),
                word(row.preempts)
            );
        }
        // The columns are padded to their right.
        Some(text.lines().map(|line| line.trim_end().to_owned() + "\n").collect())
    }
}

/// The access rights under a reservation of this type: what a simulated disk in that state admits.
fn access(kind: Option<ReservationType>) -> Vec<Row> {
    let nexus = |number| Nexus { initiator: InitiatorPort(number), target_port: 1 };
    let [holder, registrant, other] = [nexus(1), nexus(2), nexus(3)];
    let mut unit = LogicalUnit::default();
    let mut send = |nexus, command: PrOut<'_>| {
        let _ = unit.execute(nexus, &command.cdb(), &command.list(), &mut []);
    };
    send(holder, PrOut::register(ReservationKey::ZERO, ReservationKey(1)));
    send(registrant, PrOut::register(ReservationKey::ZERO, ReservationKey(2)));
    if let Some(kind) = kind {
        send(holder, PrOut::reserve(ReservationKey(1), kind));
    }
    let row = |who, nexus, registered: bool| {
        let admits = |class| unit.admits(nexus, class);
        let changes = |action| registered && admits(CommandClass::PersistentReserveOut(Some(action)));
        Row {
            who,
            reads: admits(CommandClass::Reads),
            writes: admits(CommandClass::Writes),
            reserves: changes(OutAction::Reserve),
            preempts: changes(OutAction::Preempt),
        }
    };
    let others = row("those who are not registered", other, false);
    match kind {
        None => vec![row("those who are registered", registrant, true), others],
        Some(kind) if kind.is_all_registrants() => {
            vec![row("those who are registered (all hold it)", holder, true), others]
        }
        Some(_) => vec![row("the holder", holder, true), row("others who are registered", registrant, true), others],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The access table as `RWrp` with `-` for what is refused.
    fn table(kind: Option<ReservationType>) -> Vec<String> {
        let letter = |may: bool, letter: char| if may { letter } else { '-' };
        let rows = access(kind);
        let marks = |row: &Row| [(row.reads, 'R'), (row.writes, 'W'), (row.reserves, 'r'), (row.preempts, 'p')];
        rows.iter().map(|row| marks(row).iter().map(|(may, mark)| letter(*may, *mark)).collect()).collect()
    }

    #[test]
    fn who_may_do_what_is_what_spc_says() {
        for (kind, rows) in [
            (None, &["RWrp", "RW--"][..]),
            (Some(ReservationType::WriteExclusive), &["RWrp", "R--p", "R---"]),
            (Some(ReservationType::ExclusiveAccess), &["RWrp", "---p", "----"]),
            (Some(ReservationType::WriteExclusiveRegistrantsOnly), &["RWrp", "RW-p", "R---"]),
            (Some(ReservationType::ExclusiveAccessRegistrantsOnly), &["RWrp", "RW-p", "----"]),
            (Some(ReservationType::WriteExclusiveAllRegistrants), &["RWrp", "R---"]),
            (Some(ReservationType::ExclusiveAccessAllRegistrants), &["RWrp", "----"]),
        ] {
            assert_eq!(table(kind), rows, "{kind:?}");
        }
    }
}
