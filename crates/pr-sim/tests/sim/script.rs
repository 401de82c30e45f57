//! Random sequences of commands, most of them such that they get somewhere: a key is often the sender's own, a type
//! often that of the reservation.

use pr_sim::{LogicalUnit, Nexus};
use proptest::{collection::vec, prelude::*};
use scsi_persistent_reservations::TransportId;

use crate::bench::{A, B, C, bytes_of};
use crate::model::{Model, Who};

/// Four ports: three of SAS, one of iSCSI.
pub const PORTS: usize = 4;
/// Where a port is only named, the name may also be of a protocol that is none.
const NAMES: usize = PORTS + 1;

const ISCSI: TransportId<'_> =
    TransportId::Iscsi { name: b"iqn.2026-01.com.example:d", session: Some(b"00023d000001") };

/// The TransportID of a port.
pub fn transport_id(port: usize) -> Vec<u8> {
    match port {
        3 => bytes_of(&ISCSI),
        4 => vec![0x0f; 24],
        sas => bytes_of(&[A, B, C][sas].initiator.sas()),
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// The key of the sender, zero if it has none.
    Own,
    /// The key of another.
    Of(usize, u16),
    Is(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Held,
    Is(u8),
}

/// What becomes of a parameter list on its way.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    None,
    /// Cut, with the CDB's length or without.
    Cut {
        to: usize,
        declared: bool,
    },
    Longer(usize),
    /// A bit of the flags or lengths; not of a TransportID, where it might be one that is not looked at.
    Flipped {
        at: usize,
        bit: u8,
    },
}

#[derive(Clone, Debug)]
pub struct Out {
    pub action: u8,
    pub kind: Kind,
    pub key: Key,
    pub service_action_key: Key,
    /// `SPEC_I_PT`, `ALL_TG_PT`, APTPL; for REGISTER AND MOVE the lower two bits are UNREG and APTPL.
    pub flags: u8,
    pub listed: Vec<usize>,
    pub target_port: u16,
    pub damage: Damage,
}

#[derive(Clone, Debug)]
pub enum Step {
    In { action: u8, allocation_length: u16 },
    Out(Out),
    Reset,
    PowerCycle,
    Forget,
}

/// Who does what.
pub type Scripted = (usize, u16, Step);

/// A unit to run it on: target ports, room for registrations.
pub fn unit() -> impl Strategy<Value = (u16, usize)> {
    (1..=2u16, prop_oneof![3 => Just(100usize), 1 => 1..7usize])
}

pub fn script(length: usize) -> impl Strategy<Value = Vec<Scripted>> {
    vec((0..PORTS, 1..=2u16, step()), 1..length)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => out().prop_map(Step::Out),
        6 => (0..5u8, prop_oneof![0..64u16, Just(0xffff)])
            .prop_map(|(action, allocation_length)| Step::In { action, allocation_length }),
        1 => Just(Step::Reset),
        1 => Just(Step::PowerCycle),
        1 => Just(Step::Forget),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (0..PORTS, 1..=2u16).prop_map(|(port, target_port)| Key::Of(port, target_port)),
        (0..4u64).prop_map(Key::Is),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        30 => Just(Damage::None),
        1 => (0..60usize, any::<bool>()).prop_map(|(to, declared)| Damage::Cut { to, declared }),
        1 => (1..9usize).prop_map(Damage::Longer),
        1 => (16..28usize, 0..8u8).prop_map(|(at, bit)| Damage::Flipped { at, bit }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let named = prop_oneof![Just(1), Just(3), 5..=8u8];
    prop_oneof![3 => Just(Kind::Held), 5 => named.prop_map(Kind::Is), 1 => any::<u8>().prop_map(Kind::Is)]
}

fn flags() -> impl Strategy<Value = u8> {
    let few = prop_oneof![Just(4), Just(5), Just(8), Just(12)];
    prop_oneof![4 => Just(0), 1 => Just(1), 2 => few, 1 => any::<u8>()]
}

fn out() -> impl Strategy<Value = Out> {
    (
        prop_oneof![3 => Just(0), 3 => Just(1), 20 => 0..9u8, 1 => 9..32u8],
        kind(),
        prop_oneof![8 => Just(Key::Own), 1 => key()],
        key(),
        flags(),
        vec(prop_oneof![8 => 0..PORTS, 1 => PORTS..NAMES], 0..3),
        prop_oneof![10 => 1..=2u16, 1 => 0..4u16],
        damage(),
    )
        .prop_map(|(action, kind, key, service_action_key, flags, listed, target_port, damage)| Out {
            action,
            kind,
            key,
            service_action_key,
            flags,
            listed,
            target_port,
            damage,
        })
}

/// The unit under test beside the model of it.
pub struct Pair {
    pub unit: LogicalUnit,
    pub model: Model,
}

impl Pair {
    pub fn new((target_ports, room): (u16, usize)) -> Self {
        let model = Model {
            target_ports,
            room,
            generation: 0,
            entries: Vec::new(),
            reservation: None,
            aptpl: false,
            logged_in: Vec::new(),
            aborted: Vec::new(),
        };
        Self { unit: LogicalUnit::new(target_ports).with_max_registrations(room), model }
    }

    /// The nexus in the terms of the model and of the unit.
    pub fn nexus(&mut self, port: usize, target_port: u16) -> (Who, Nexus) {
        let target_port = target_port.min(self.model.target_ports);
        let id = transport_id(port);
        let who = (id.clone(), target_port);
        let nexus = self.unit.log_in(&TransportId::from_field(&id), target_port).expect("a port that is there");
        if !self.model.logged_in.iter().any(|(other, _)| *other == who) {
            self.model.logged_in.push((who.clone(), Vec::new()));
        }
        (who, nexus)
    }

    /// The bytes of a command: CDB and parameter list.
    pub fn bytes(&self, me: &Who, out: &Out) -> ([u8; 16], Vec<u8>) {
        let key = |key| match key {
            Key::Own => self.model.key_of(me).unwrap_or(0),
            Key::Of(port, target_port) => self.model.key_of(&(transport_id(port), target_port)).unwrap_or(0),
            Key::Is(key) => key,
        };
        let kind = match out.kind {
            Kind::Is(kind) => kind,
            Kind::Held => self.model.reservation.as_ref().map_or(1, |(kind, _)| *kind),
        };
        let mut list = [key(out.key).to_be_bytes(), key(out.service_action_key).to_be_bytes()].concat();
        let ids: Vec<u8> = out.listed.iter().flat_map(|port| transport_id(*port)).collect();
        if out.action == 7 {
            let ids = out.listed.first().map_or(vec![], |port| transport_id(*port));
            list.extend([0, out.flags & 3]);
            list.extend(out.target_port.to_be_bytes());
            list.extend(u32::try_from(ids.len()).expect("a short list").to_be_bytes());
            list.extend(ids);
        } else {
            list.extend([0, 0, 0, 0, out.flags, 0, 0, 0]);
            if out.flags & 8 != 0 {
                list.extend(u32::try_from(ids.len()).expect("a short list").to_be_bytes());
                list.extend(ids);
            }
        }
        let mut declared = list.len();
        match out.damage {
            Damage::None => {}
            Damage::Cut { to, declared: honest } => {
                list.truncate(to);
                declared = if honest { list.len() } else { declared };
            }
            Damage::Longer(by) => {
                list.extend(vec![0; by]);
                declared = list.len();
            }
            Damage::Flipped { at, bit } => {
                if let Some(byte) = list.get_mut(at)
                    && (out.action != 7 || at < 24)
                {
                    *byte ^= 1 << bit;
                }
            }
        }
        let mut cdb = [0; 16];
        cdb[..3].copy_from_slice(&[0x5f, out.action, kind]);
        cdb[5..9].copy_from_slice(&u32::try_from(declared).expect("a short list").to_be_bytes());
        (cdb, list)
    }
}
