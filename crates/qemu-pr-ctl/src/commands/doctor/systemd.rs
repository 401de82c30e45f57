//! The helper's units, where systemd manages the host.

use std::collections::BTreeMap;

use super::{finding::Finding, host::Host};

/// The names of the helper's units. The first that there is counts: beside QEMU's own helper the packages of this one use
/// another name.
const NAMES: [&str; 2] = ["qemu-pr-helper-rs", "qemu-pr-helper"];

/// Where the helper finds its broker; both packages call it so.
const BROKER: &str = "qemu-pr-broker.socket";

/// What is asked for of each unit.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,Result,UnitFileState";

/// The name of the helper's units, and what is wrong with them.
pub fn look(host: &Host) -> (&'static str, Vec<Finding>) {
    let [_, default] = NAMES;
    if !host.has_systemd() {
        return (default, Vec::new());
    }
    let units: Vec<String> =
        NAMES.iter().flat_map(|name| [format!("{name}.socket"), format!("{name}.service")]).collect();
    let arguments: Vec<&str> =
        ["show", PROPERTIES, BROKER].into_iter().chain(units.iter().map(String::as_str)).collect();
    let Some(output) = host.output("systemctl", &arguments) else { return (default, Vec::new()) };
    let all: Vec<Unit> = output.split("\n\n").map(properties).collect();
    let is_loaded = |name: &&str| all.iter().any(|unit| is_of(unit, name) && unit.get("LoadState") == Some(&"loaded"));
    let name = NAMES.into_iter().find(is_loaded).unwrap_or(default);
    let ours = all.iter().filter(|unit| is_of(unit, name) || unit.get("Id") == Some(&BROKER));
    (name, ours.filter_map(judge).collect())
}

/// The properties of one unit.
type Unit<'a> = BTreeMap<&'a str, &'a str>;

fn properties(text: &str) -> Unit<'_> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

fn is_of(unit: &Unit<'_>, name: &str) -> bool {
    unit.get("Id").and_then(|id| id.strip_prefix(name)).is_some_and(|rest| rest.starts_with('.'))
}

fn judge(unit: &Unit<'_>) -> Option<Finding> {
    let of = |property| unit.get(property).copied().unwrap_or_default();
    let name = of("Id").to_owned();
    match (of("LoadState"), of("ActiveState"), of("UnitFileState")) {
        ("loaded", "failed", _) => Some(Finding::UnitFailed { unit: name, result: of("Result").to_owned() }),
        ("loaded", "active", "disabled") if name.ends_with(".socket") && name != BROKER => {
            Some(Finding::UnitNotEnabled { unit: name })
        }
        _ => None,
    }
}
