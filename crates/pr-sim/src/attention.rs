//! Unit attention conditions: what every nexus is yet to be told.

use std::collections::BTreeMap;

use scsi_persistent_reservations::SenseCode;

use crate::{InitiatorPort, Nexus};

/// The queues of the nexuses that are logged in. A nexus that is not has no queue: nobody is there to be told, and
/// a guest that registers thousands of ports by name must not make thousands of queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitAttentions(BTreeMap<Nexus, Vec<SenseCode>>);

impl UnitAttentions {
    /// A nexus is there from now on.
    pub(crate) fn log_in(&mut self, nexus: Nexus) {
        self.0.entry(nexus).or_default();
    }

    /// A nexus is gone, and what it was to be told with it.
    pub(crate) fn forget(&mut self, nexus: Nexus) {
        self.0.remove(&nexus);
    }

    /// Queues a condition. One that the nexus is to be told already is not queued twice.
    pub(crate) fn establish(&mut self, nexus: Nexus, condition: SenseCode) {
        if let Some(queue) = self.0.get_mut(&nexus)
            && !queue.contains(&condition)
        {
            queue.push(condition);
        }
    }

    /// Takes the oldest condition, to report it.
    pub(crate) fn take(&mut self, nexus: Nexus) -> Option<SenseCode> {
        let queue = self.0.get_mut(&nexus)?;
        (!queue.is_empty()).then(|| queue.remove(0))
    }

    /// What the nexus is yet to be told, oldest first.
    pub(crate) fn pending(&self, nexus: Nexus) -> &[SenseCode] {
        self.0.get(&nexus).map_or(&[], Vec::as_slice)
    }

    /// A reset: it clears every other condition, and everyone is told of it instead (SAM-5 5.14).
    pub(crate) fn reset(&mut self) {
        for queue in self.0.values_mut() {
            *queue = vec![SenseCode::RESET_OCCURRED];
        }
    }

    /// Whether the port is logged in through any target port.
    pub(crate) fn knows(&self, initiator: InitiatorPort) -> bool {
        let through = |target_port| Nexus { initiator, target_port };
        self.0.range(through(0)..=through(u16::MAX)).next().is_some()
    }
}
