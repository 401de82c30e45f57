//! What a tenant or a local user tries against the daemon and against its other clients. Each attack worked once.

mod names;
mod paths;
mod shares;
mod soak;
