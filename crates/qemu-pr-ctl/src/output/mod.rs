//! What is printed: text for a terminal of 80 columns, and JSON.

pub mod json;
pub mod latency;
pub mod summary;
pub mod terminal;
pub mod text;
pub mod time;
