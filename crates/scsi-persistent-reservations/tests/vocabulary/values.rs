//! What several tests need: bytes out of values, and any value there is.

use proptest::{collection::vec, prelude::*, sample::select};
use scsi_persistent_reservations::{
    DataIn, FullStatus, FullStatusDescriptor, InAction, MoveParameters, OutAction, ReadKeys, ReadReservation,
    Reservation, ReservationKey, ReservationType, TransportId,
};

/// The bytes that `write` puts into a buffer with room for all of them.
pub fn bytes(write: impl Fn(&mut DataIn<'_>)) -> Vec<u8> {
    let mut counter = DataIn::new(&mut []);
    write(&mut counter);
    let mut buffer = vec![0; counter.length()];
    write(&mut DataIn::new(&mut buffer));
    buffer
}

pub fn id_bytes(id: &TransportId<'_>) -> Vec<u8> {
    bytes(|out| id.write(out))
}

pub fn move_bytes(parameters: &MoveParameters<'_>) -> Vec<u8> {
    bytes(|out| parameters.write(out))
}

pub fn keys_bytes(generation: u32, keys: &[ReservationKey]) -> Vec<u8> {
    bytes(|out| ReadKeys::write(generation, keys.iter().copied(), out))
}

pub fn reservation_bytes(generation: u32, reservation: Option<Reservation>) -> Vec<u8> {
    bytes(|out| ReadReservation::write(generation, reservation, out))
}

pub fn status_bytes(generation: u32, descriptors: &[FullStatusDescriptor<'_>]) -> Vec<u8> {
    bytes(|out| FullStatus::write(generation, descriptors.iter().copied(), out))
}

pub fn any_key() -> impl Strategy<Value = ReservationKey> {
    any::<u64>().prop_map(ReservationKey)
}

pub fn any_type() -> impl Strategy<Value = ReservationType> {
    select(ReservationType::ALL.to_vec())
}

pub fn any_in_action() -> impl Strategy<Value = InAction> {
    select(InAction::ALL.to_vec())
}

pub fn any_out_action() -> impl Strategy<Value = OutAction> {
    select(OutAction::ALL.to_vec())
}

/// A TransportID that owns its text.
#[derive(Clone, Debug)]
pub enum OwnedId {
    Plain(TransportId<'static>),
    Iscsi { name: Vec<u8>, session: Option<Vec<u8>> },
    Other(Vec<u8>),
}

impl OwnedId {
    pub fn get(&self) -> TransportId<'_> {
        match self {
            Self::Plain(id) => *id,
            Self::Iscsi { name, session } => TransportId::Iscsi { name, session: session.as_deref() },
            Self::Other(bytes) => TransportId::Other(bytes),
        }
    }
}

/// Every TransportID that can stand on the wire and be told apart from what follows it.
pub fn any_id() -> impl Strategy<Value = OwnedId> {
    prop_oneof![
        any::<[u8; 8]>().prop_map(|n_port_name| OwnedId::Plain(TransportId::FibreChannel { n_port_name })),
        any::<(u16, u16)>().prop_map(|(address, relative_target_port)| OwnedId::Plain(TransportId::ParallelScsi {
            address,
            relative_target_port
        })),
        any::<[u8; 8]>().prop_map(|eui64| OwnedId::Plain(TransportId::Sbp { eui64 })),
        any::<[u8; 16]>().prop_map(|initiator_port| OwnedId::Plain(TransportId::Srp { initiator_port })),
        any::<[u8; 8]>().prop_map(|address| OwnedId::Plain(TransportId::Sas { address })),
        any::<u16>().prop_map(|routing_id| OwnedId::Plain(TransportId::Sop { routing_id })),
        "[a-z0-9.:,-]{0,223}".prop_map(|name| OwnedId::Iscsi { name: name.into_bytes(), session: None }),
        ("[a-z0-9.:,-]{0,223}", "[0-9a-f]{1,12}").prop_map(|(name, session)| OwnedId::Iscsi {
            name: name.into_bytes(),
            session: Some(session.into_bytes())
        }),
        (select(vec![0x02, 0x07, 0x08, 0x09, 0x0b, 0x0f, 0x46, 0x80, 0x85, 0xc5]), any::<[u8; 23]>())
            .prop_map(|(first, rest)| OwnedId::Other([&[first][..], &rest].concat())),
    ]
}

/// The owned parts of a READ FULL STATUS descriptor.
pub type OwnedDescriptor = (ReservationKey, bool, Option<u8>, u16, OwnedId);

pub fn any_descriptors() -> impl Strategy<Value = Vec<OwnedDescriptor>> {
    vec((any_key(), any::<bool>(), any::<Option<u8>>(), any::<u16>(), any_id()), 0..6)
}

pub fn descriptor(owned: &OwnedDescriptor) -> FullStatusDescriptor<'_> {
    let (key, all_target_ports, holds, relative_target_port, id) = owned;
    FullStatusDescriptor {
        key: *key,
        all_target_ports: *all_target_ports,
        holds: *holds,
        relative_target_port: *relative_target_port,
        transport_id: id.get(),
    }
}
