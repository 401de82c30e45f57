//! How a device or a helper is reached.

mod block;
mod control;
mod device;
mod direct;
mod disk;
mod helper;
pub mod host;
mod transport;

pub use self::{
    control::ControlSocket,
    device::{Device, open},
    disk::{Disk, MAX_ATTENTIONS},
    helper::{DEFAULT_SOCKET, Helper},
    transport::Transport,
};
