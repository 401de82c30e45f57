//! dm-multipath: what the disk has registered for the paths of each map, and what multipathd takes it to have.

use std::{collections::BTreeMap, io, thread, time::Duration};

use scsi_persistent_reservations::{ReservationKey, ReservationType, SenseKey};

use super::{
    disks::{Answer, Asker},
    finding::Finding,
    host::{Host, is_denied},
    initiators::{self, Port},
    luns::{self, Map},
    multipathd::{Multipathd, configured_keys},
};
use crate::error::Error;

/// For how long a map may be suspended while a command is carried out on it.
const SUSPENDED: Duration = Duration::from_secs(2);

/// What only root may ask multipathd.
const KEYS: &str = "the keys that multipathd keeps";

/// What multipathd says of a map.
struct Belief {
    /// The key that it keeps, if it was told one.
    key: Option<ReservationKey>,
    /// Whether it registers paths that come back.
    registers: Option<bool>,
    /// Whether the map holds a reservation.
    holds: Option<bool>,
}

/// A path that carries I/O.
struct Path<'a> {
    name: &'a str,
    /// Who it is to the disk, where the host tells.
    port: Option<Port>,
}

/// Looks at all maps.
pub fn look(asker: &Asker<'_>, patience: Duration) -> Vec<Finding> {
    let host = asker.host;
    let maps = luns::maps(host);
    if maps.is_empty() {
        return Vec::new();
    }
    let mut findings = suspended(host, &maps);
    let mut daemon = match Multipathd::open(host, patience) {
        Ok(daemon) => Some(daemon),
        Err(error) if is_denied(&error) => {
            host.could_not_see(KEYS);
            None
        }
        Err(error) => {
            findings.push(Finding::NoMultipathd { reason: error.to_string() });
            None
        }
    };
    let states = daemon.as_mut().map(states).unwrap_or_default();
    let beliefs = daemon.as_mut().map(|daemon| ask(host, daemon, &maps));
    let beliefs = beliefs.unwrap_or_else(|| Ok((Vec::new(), Vec::new())));
    let (beliefs, about_keys) = beliefs.unwrap_or_else(|finding| (Vec::new(), vec![finding]));
    findings.extend(about_keys);
    let mut beliefs = beliefs.into_iter();
    for map in &maps {
        let belief = beliefs.next();
        // What is sent to a map that is suspended waits as all else does.
        if !findings.contains(&Finding::MapSuspended { map: map.name.clone() }) {
            findings.extend(judge(asker, map, &states, belief.as_ref()));
        }
    }
    explain(findings)
}

/// A key that multipathd lacks because of its configuration is no finding by itself: telling it the key mends nothing.
fn explain(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut lacking: Vec<String> = Vec::new();
    let mut causes = Vec::new();
    for finding in &findings {
        match finding {
            Finding::MultipathdOtherKey { has, .. } => lacking.push(has.clone()),
            Finding::NoKeyFile { .. } => causes.push(NO_KEY.to_owned()),
            Finding::KeyIsNumber { key, .. } => causes.extend(number(key).map(of_key)),
            _ => {}
        }
    }
    findings.retain(|finding| !matches!(finding, Finding::MultipathdOtherKey { has, .. } if causes.contains(has)));
    for finding in &mut findings {
        match finding {
            Finding::NoKeyFile { has_effect } => *has_effect = lacking.iter().any(|has| has == NO_KEY),
            Finding::KeyIsNumber { key, has_effect, .. } => {
                *has_effect = number(key).map(of_key).is_some_and(|key| lacking.contains(&key));
            }
            _ => {}
        }
    }
    findings
}

/// A key as a configuration has it.
fn number(text: &str) -> Option<ReservationKey> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok().map(ReservationKey)
}

/// What multipathd has for a map.
const NO_KEY: &str = "no key";

fn of_key(key: ReservationKey) -> String {
    format!("key {key}")
}

/// The maps that stay suspended.
fn suspended(host: &Host, maps: &[Map]) -> Vec<Finding> {
    if maps.iter().any(|map| map.is_suspended) {
        thread::sleep(SUSPENDED);
    }
    let stay = maps.iter().filter(|map| map.is_suspended && luns::is_suspended(host, &map.disk));
    stay.map(|map| Finding::MapSuspended { map: map.name.clone() }).collect()
}

/// What multipathd calls the state of each path in device-mapper; nothing where it does not tell.
fn states(daemon: &mut Multipathd) -> BTreeMap<String, String> {
    let answer = daemon.ask("show paths raw format \"%d %t\"").unwrap_or_default();
    let pair = |line: &str| line.split_once(' ').map(|(path, state)| (path.to_owned(), state.trim().to_owned()));
    answer.lines().filter_map(pair).collect()
}

/// What multipathd is told to keep, and what it keeps for each map.
fn ask(host: &Host, daemon: &mut Multipathd, maps: &[Map]) -> Result<(Vec<Belief>, Vec<Finding>), Finding> {
    let silent = |command: &str, error: &io::Error| Finding::MultipathdSilent {
        command: command.to_owned(),
        reason: error.to_string(),
    };
    let command = "show config local";
    let config = daemon.ask(command).map_err(|error| silent(command, &error))?;
    let keys = configured_keys(&config);
    let mut findings = Vec::new();
    // One in the section of a map is that map's alone, whatever the defaults are.
    for key in keys.iter().filter(|key| key.value != "file") {
        findings.push(Finding::KeyIsNumber { key: key.value.clone(), section: key.section.clone(), has_effect: false });
    }
    if config.contains("defaults") && !keys.iter().any(|key| key.section == "defaults") {
        findings.push(Finding::NoKeyFile { has_effect: false });
    }
    let mut beliefs = Vec::new();
    for map in maps {
        match belief(daemon, map.for_multipathd()) {
            Ok(belief) => beliefs.push(belief),
            Err(error) if is_denied(&error) => {
                host.could_not_see(KEYS);
                break;
            }
            Err(error) => {
                findings.push(silent("getprkey", &error));
                break;
            }
        }
    }
    Ok((beliefs, findings))
}

fn belief(daemon: &mut Multipathd, map: &str) -> io::Result<Belief> {
    Ok(Belief {
        key: daemon.key_of(map)?,
        registers: daemon.is_set("getprstatus", map)?,
        holds: daemon.is_set("getprhold", map)?,
    })
}

/// Compares what the disk says of a map with what multipathd does.
fn judge(asker: &Asker<'_>, map: &Map, states: &BTreeMap<String, String>, belief: Option<&Belief>) -> Vec<Finding> {
    let host = asker.host;
    let answer = match asker.ask(&map.disk) {
        None => return Vec::new(),
        Some(Err(error)) => {
            return vec![Finding::DiskRefuses { disk: luns::node(host, &map.disk), error: error.to_string() }];
        }
        Some(Ok(answer)) => answer,
    };
    let carries_io = |path: &&String| {
        let state = host.attribute(path, "device/state");
        let is_failed = states.get(path.as_str()).is_some_and(|state| state == "failed");
        state.is_none_or(|state| state == "running") && !is_failed
    };
    let (mut active, mut findings) = (Vec::new(), Vec::new());
    for name in map.paths.iter().filter(carries_io) {
        match asker.ask(name) {
            // A path in standby is registered once it is ready.
            Some(Err(error)) if is_not_ready(&error) => continue,
            Some(Err(error)) => {
                let disk = luns::node(host, name);
                findings.push(Finding::DiskRefuses { disk, error: error.to_string() });
            }
            Some(Ok(other)) if differs(asker, map, &answer, &other) => {
                findings.push(Finding::PathOfOtherDisk { map: map.name.clone(), path: name.clone() });
            }
            None | Some(Ok(_)) => {}
        }
        active.push(Path { name, port: initiators::port(host, name) });
    }
    let key = key(&answer, &active, belief);
    if let Some(key) = key {
        findings.extend(without_key(map, &answer, &active, key));
        findings.extend(belief.and_then(|belief| disagreement(map, key, belief)));
    } else if let Some(Belief { key: Some(kept), registers: Some(true), .. }) = belief
        && !answer.keys.contains(kept)
        && !answer.has_more_keys
    {
        findings.push(Finding::MultipathdStaleKey { map: map.name.clone(), key: *kept });
    }
    let is_held = answer.reservation.is_some_and(|held| {
        let by_all = held.reservation_type().is_some_and(ReservationType::is_all_registrants);
        key.is_some_and(|key| by_all || held.key == key)
    });
    if belief.is_some_and(|belief| belief.holds == Some(true)) && !is_held {
        findings.push(Finding::MultipathdBelievesHeld { map: map.name.clone() });
    }
    findings
}

/// Whether a path answers that it is not ready, as one in standby or in transition does.
fn is_not_ready(error: &Error) -> bool {
    const NOT_READY: SenseKey = SenseKey(0x2);
    matches!(error, Error::Refused { sense: Some(sense), .. } if sense.key == NOT_READY)
}

/// Whether a path says something else than its map. Something may have changed meanwhile: then the map says so as well.
fn differs(asker: &Asker<'_>, map: &Map, answer: &Answer, other: &Answer) -> bool {
    (other.keys != answer.keys || other.reservation != answer.reservation)
        && asker.ask(&map.disk).is_some_and(|again| again.is_ok_and(|again| again == *answer))
}

/// The key of this host on a map: what most of its paths are registered with, or what multipathd keeps, if it is there.
fn key(answer: &Answer, active: &[Path<'_>], belief: Option<&Belief>) -> Option<ReservationKey> {
    let registrations = answer.registrations.as_deref().unwrap_or_default();
    let ports = || active.iter().filter_map(|path| path.port.as_ref());
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for registration in registrations.iter().filter(|registration| ports().any(|port| registration.is_of(port))) {
        *counts.entry(registration.key.0).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(key, _)| ReservationKey(key));
    most.or_else(|| belief?.key.filter(|kept| !knows_all(answer, active) && answer.keys.contains(kept)))
}

/// Whether it can be told which registration is which path's.
fn knows_all(answer: &Answer, active: &[Path<'_>]) -> bool {
    answer.registrations.is_some() && active.iter().all(|path| path.port.is_some())
}

/// The paths without this host's key.
fn without_key(map: &Map, answer: &Answer, active: &[Path<'_>], key: ReservationKey) -> Vec<Finding> {
    let map = map.name.clone();
    if !knows_all(answer, active) {
        let registrations = answer.keys.iter().filter(|other| **other == key).count();
        let few = Finding::FewerKeysThanPaths { map, key, registrations, paths: active.len() };
        return if registrations < active.len() && !answer.has_more_keys { vec![few] } else { Vec::new() };
    }
    let has_key = |path: &&Path<'_>| {
        let mut registrations = answer.registrations.iter().flatten().filter(|registration| registration.key == key);
        registrations.any(|registration| path.port.as_ref().is_some_and(|port| registration.is_of(port)))
    };
    let without = active.iter().filter(|path| !has_key(path));
    without.map(|path| Finding::PathWithoutKey { map: map.clone(), path: path.name.to_owned(), key }).collect()
}

/// Where multipathd takes a map that is registered for another.
fn disagreement(map: &Map, key: ReservationKey, belief: &Belief) -> Option<Finding> {
    let map = map.name.clone();
    match (belief.key, belief.registers) {
        (Some(kept), _) if kept != key => Some(Finding::MultipathdOtherKey { map, key, has: of_key(kept) }),
        (None, _) => Some(Finding::MultipathdOtherKey { map, key, has: NO_KEY.to_owned() }),
        (Some(_), Some(false)) => Some(Finding::MultipathdDoesNotRegister { map, key }),
        (Some(_), _) => None,
    }
}
