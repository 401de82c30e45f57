//! The simulated logical unit: a test for each rule of the state machine, then random commands against a model that
//! was written without looking at it.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod access;
mod against_model;
mod attentions;
mod bench;
mod model;
mod ports;
mod power;
mod preempt;
mod properties;
mod register;
mod relocate;
mod report;
mod reserve;
mod script;
mod target_ports;
mod validation;
