//! The exporter as it is used: started with a command line, it asks helpers and answers monitoring systems.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod exporter;
mod figures;
mod observability;
mod openmetrics;
mod run;
mod serving;
mod start;
mod user;
