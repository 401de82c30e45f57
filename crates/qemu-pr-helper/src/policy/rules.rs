//! Which rule is about a request.

use pr_device::{Identity, Kind};
use pr_resolver::{Aliases, unit};
use scsi_persistent_reservations::Command;

use crate::config::settings::{Decision, Glob, KeyLimit, Rule, Settings};

/// What is known of a request and its client. What takes a question to another process is asked only if a rule needs it,
/// and `None` where there is no answer.
pub trait Facts {
    /// The client's user.
    fn user(&self) -> u32;
    /// What it wants.
    fn command(&self) -> Command;
    /// Where.
    fn device(&self) -> Identity;
    /// All groups of the client.
    fn groups(&self) -> Option<Vec<u32>>;
    /// The path of its control group.
    fn control_group(&self) -> Option<String>;
    /// Its security context.
    fn context(&self) -> Option<String>;
    /// All names of the device.
    fn names(&self) -> Option<Aliases>;
}

/// What the rules come to.
#[derive(Debug, PartialEq, Eq)]
pub enum PolicyDecision<'a> {
    /// It may be carried out, with keys within the limit of the rule of this name.
    Allowed(Option<(KeyLimit, &'a str)>),
    /// The rule of this name forbids it, or no rule allows it.
    Denied(Option<&'a str>),
    /// Whether the rule of this name is about it cannot be told without this.
    Unknown(&'a str, &'static str),
}

/// The first rule that is about the request decides. One that may or may not be about it ends the search as well:
/// guessing would make a rule that forbids fail open.
pub fn decide<'a>(settings: &'a Settings, facts: &impl Facts) -> PolicyDecision<'a> {
    for rule in &settings.rules {
        match fits(rule, facts) {
            Ok(false) => {}
            Ok(true) if rule.decision == Decision::Deny => return PolicyDecision::Denied(Some(&rule.name)),
            Ok(true) => return PolicyDecision::Allowed(rule.keys.map(|limit| (limit, rule.name.as_str()))),
            Err(what) => return PolicyDecision::Unknown(&rule.name, what),
        }
    }
    match settings.default {
        Decision::Allow => PolicyDecision::Allowed(None),
        Decision::Deny => PolicyDecision::Denied(None),
    }
}

/// Whether all conditions of a rule hold; what is missing if that cannot be told.
fn fits(rule: &Rule, facts: &impl Facts) -> Result<bool, &'static str> {
    let Rule { users, groups, units, contexts, devices, actions, .. } = rule;
    let user = users.as_ref().is_none_or(|users| users.contains(&facts.user()));
    let action = actions.as_ref().is_none_or(|actions| actions.iter().any(|action| action.covers(facts.command())));
    // What costs nothing comes first, so that most rules are out before the resolver is asked.
    if !user || !action {
        return Ok(false);
    }
    let rest = [
        groups.as_ref().map(|groups| in_group(groups, facts)),
        contexts.as_ref().map(|contexts| in_context(contexts, facts)),
        devices.as_ref().map(|devices| on_device(devices, facts)),
        units.as_ref().map(|units| in_unit(units, rule.decision, facts)),
    ];
    // One condition that does not hold is enough, whatever the others are.
    let mut missing = None;
    for condition in rest.into_iter().flatten() {
        match condition {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(what) => missing = Some(what),
        }
    }
    missing.map_or(Ok(true), Err)
}

fn in_group(groups: &[u32], facts: &impl Facts) -> Result<bool, &'static str> {
    let all = facts.groups().ok_or("the client's groups")?;
    Ok(groups.iter().any(|group| all.contains(group)))
}

fn in_context(contexts: &[Glob], facts: &impl Facts) -> Result<bool, &'static str> {
    let own = facts.context().ok_or("the client's security context")?;
    Ok(contexts.iter().any(|context| context.matches(&own)))
}

/// A pattern with a slash is compared with the path of the unit, any other with its name. A process that is in no unit
/// of the system's manager below the two slices is not allowed by what units are allowed, and whether it is what a rule
/// denies cannot be told: it may be in a container with such a manager of its own.
fn in_unit(units: &[Glob], decision: Decision, facts: &impl Facts) -> Result<bool, &'static str> {
    let path = facts.control_group().ok_or("the client's unit")?;
    let Some(unit) = unit::unit(&path) else {
        return match decision {
            Decision::Allow => Ok(false),
            Decision::Deny => Err("the client's unit below /machine.slice or /system.slice"),
        };
    };
    let fits = |pattern: &Glob| {
        if pattern.as_str().contains('/') { pattern.matches_path(unit) } else { pattern.matches(unit::name(unit)) }
    };
    Ok(units.iter().any(fits))
}

fn on_device(patterns: &[Glob], facts: &impl Facts) -> Result<bool, &'static str> {
    let device = facts.device();
    // A file is no disk and has no names.
    match device.kind {
        Kind::File | Kind::Pipe => return Ok(false),
        Kind::Unknown => return Err("the device"),
        Kind::Block | Kind::Character => {}
    }
    let number = device.number().to_string();
    if patterns.iter().any(|pattern| pattern.matches(&number)) {
        return Ok(true);
    }
    let Aliases { names, is_complete, .. } = facts.names().ok_or("the names of the disk")?;
    let fits = patterns.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)));
    if fits || is_complete { Ok(fits) } else { Err("all names of the disk") }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "rules_tests.rs"]
mod tests;
