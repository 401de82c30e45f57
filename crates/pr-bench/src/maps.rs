//! What the rows on maps are called, and what they may come to.

use pr_measure::multipath::{AGAIN, Command, DEVICES, FIRST, MEMORY, MEMORY_EACH, PATHS, PROCESSOR};

/// On so many maps at once, beside so many device-mapper devices.
pub const MAPS: u32 = 100;
pub const DEVICES_IN_ALL: u32 = 1000;

/// Rows whose value a guest pays for with every path.
pub const RATIOS: [Command; 2] = [Command::ReadKeys, Command::Register];

/// The row of a ratio: a command on a map over the same on one of its paths.
pub fn ratio_row(command: Command) -> String {
    format!("{}: a map of {PATHS} paths over one of them", command.row())
}

/// The row of a ratio: a command beside many devices over the same beside one.
pub fn devices_row() -> String {
    format!("REGISTER: {DEVICES_IN_ALL} device-mapper devices over 1")
}

/// What a row may come to at the most.
pub fn limits() -> Vec<(String, Option<u32>, f64)> {
    vec![
        (ratio_row(Command::ReadKeys), None, 3.0),
        (ratio_row(Command::Register), None, 5.0),
        (devices_row(), None, 1.2),
        (AGAIN.to_owned(), Some(MAPS), 2000.0),
    ]
}

/// What the loads of a row count, if it is one of these.
pub fn load_name(row: &str) -> Option<&'static str> {
    let of_paths = row == PROCESSOR || Command::ALL.iter().any(|command| row == command.row());
    match row {
        DEVICES => Some("devices"),
        FIRST | AGAIN | MEMORY | MEMORY_EACH => Some("maps"),
        _ => of_paths.then_some("paths"),
    }
}
