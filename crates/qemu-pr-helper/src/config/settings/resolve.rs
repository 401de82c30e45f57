//! From what is written to what it means. Everything that could be a slip is an error here, not a surprise later.

use pr_resolver::unit::SLICES;
use scsi_persistent_reservations::{InAction, OutAction};
use toml::Spanned;

use super::{
    defaults::{self, CheckOption},
    error::{self, Invalid, invalid},
    glob::Glob,
    schema::{self, Number, number},
    types::{Action, Decision, Devices, KeyLimit, Limits, Rule, Settings},
    users::UserDb,
};

/// The longest pattern: longer than any name that is compared with it.
const MAX_PATTERN: usize = 512;

/// The longest name of a rule.
const MAX_NAME: usize = 64;

/// The settings that a file means.
pub fn settings(file: schema::File, users: &impl UserDb, check: CheckOption) -> Result<Settings, Invalid> {
    let schema::File { default, defaults, devices, limits, rule } = file;
    let defaults = defaults::resolve(defaults, users, check)?;
    let devices = self::devices(&devices);
    let limits = self::limits(&limits)?;
    let mut rules: Vec<Rule> = Vec::with_capacity(rule.len());
    let mut warnings = Vec::new();
    for (index, written) in rule.into_iter().enumerate() {
        let span = written.span();
        let name = match &written.get_ref().name {
            Some(name) => self::name(name)?,
            None => format!("rule {}", index + 1),
        };
        if rules.iter().any(|other| other.name == name) {
            let at = written.get_ref().name.as_ref().map_or(span, Spanned::span);
            return invalid(at, format!("another rule is named \"{name}\"; give each rule its own name"));
        }
        if let Some(first) = rules.iter().find(|rule| rule.is_unconditional()) {
            let unreached =
                format!("the rule \"{name}\" is never reached: \"{}\" above it matches everything", first.name);
            warnings.push(unreached);
        }
        let rule = self::rule(name, written.into_inner(), users)?;
        if let Some(other) = rules.iter().find(|other| overlap(other, &rule)) {
            warnings.push(format!(
                "some keys are in both \"{}\" and \"{}\": these can take each other's",
                other.name, rule.name
            ));
        }
        rules.push(rule);
    }
    if default == Decision::Allow && rules.iter().any(|rule| rule.keys.is_some()) {
        warnings.push(
            "some clients have key limits, and clients that match no rule have none; default = \"deny\" refuses those"
                .to_owned(),
        );
    }
    Ok(Settings { default, defaults, devices, limits, rules, warnings })
}

/// Whether two rules share some of their keys, and not all: the same keys twice are one tenant's.
fn overlap(one: &Rule, other: &Rule) -> bool {
    let (Some(one), Some(other)) = (one.keys, other.keys) else { return false };
    (one.value, one.mask) != (other.value, other.mask) && (one.value ^ other.value) & one.mask & other.mask == 0
}

fn devices(written: &schema::Devices) -> Devices {
    let usual = Devices::default();
    Devices {
        parts: written.parts.unwrap_or(usual.parts),
        single_path_reservations: written.single_path_reservations.unwrap_or(usual.single_path_reservations),
    }
}

fn limits(written: &schema::Limits) -> Result<Limits, Invalid> {
    let number = |limit: &Option<Spanned<i64>>| match limit {
        None => Ok(None),
        Some(limit) => match u32::try_from(*limit.get_ref()) {
            Ok(number @ 1..=1_000_000) => Ok(Some(number)),
            _ => invalid(
                limit.span(),
                format!("{} is not between 1 and 1000000; remove the line for no limit", limit.get_ref()),
            ),
        },
    };
    let limits = Limits {
        connections_per_user: number(&written.connections_per_user)?,
        connections_per_process: number(&written.connections_per_process)?,
        requests_per_second: number(&written.requests_per_second)?,
        burst: number(&written.burst)?,
        commands_per_device: number(&written.commands_per_device)?,
    };
    match &written.burst {
        Some(burst) if limits.requests_per_second.is_none() => {
            invalid(burst.span(), "burst has no effect without requests-per-second; add that, or remove burst")
        }
        _ => Ok(limits),
    }
}

fn name(name: &Spanned<String>) -> Result<String, Invalid> {
    let text = name.get_ref();
    let fits = (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == '"');
    if fits {
        Ok(text.clone())
    } else {
        invalid(
            name.span(),
            format!("a rule's name has 1 to {MAX_NAME} printable characters, none of them a quotation mark"),
        )
    }
}

fn rule(name: String, written: schema::Rule, users: &impl UserDb) -> Result<Rule, Invalid> {
    let keys = match &written.keys {
        Some(keys) if written.decision == Decision::Deny => {
            return invalid(
                keys.span(),
                "keys have no effect in a rule that denies; remove them, or use decision = \"allow\"",
            );
        }
        Some(keys) => Some(self::keys(keys)?),
        None => None,
    };
    Ok(Rule {
        name,
        users: list(written.user, |who| number("user", who, |name| users.user(name)))?,
        groups: list(written.group, |who| number("group", who, |name| users.group(name)))?,
        units: list(written.unit, |text| unit(&text))?,
        contexts: list(written.selinux, |text| glob(&text))?,
        devices: list(written.device, |text| device(&text))?,
        actions: list(written.action, |text| action(&text))?,
        decision: written.decision,
        keys,
    })
}

/// A list of something. An empty one would fit nothing, which is not meant.
fn list<W, T>(
    written: Option<Spanned<Vec<Spanned<W>>>>,
    make: impl Fn(Spanned<W>) -> Result<T, Invalid>,
) -> Result<Option<Vec<T>>, Invalid> {
    let Some(list) = written else { return Ok(None) };
    if list.get_ref().is_empty() {
        return invalid(
            list.span(),
            "an empty list matches nothing; add an entry, or remove the line to match everything",
        );
    }
    list.into_inner().into_iter().map(make).collect::<Result<_, _>>().map(Some)
}

fn glob(text: &Spanned<String>) -> Result<Glob, Invalid> {
    match text.get_ref().len() {
        1..=MAX_PATTERN => Ok(Glob::new(text.get_ref().clone())),
        _ => invalid(
            text.span(),
            format!("a pattern has 1 to {MAX_PATTERN} bytes; * stands for any number of characters"),
        ),
    }
}

fn unit(text: &Spanned<String>) -> Result<Glob, Invalid> {
    let pattern = text.get_ref();
    let is_below = |slice: &str| pattern.strip_prefix('/').and_then(|path| path.strip_prefix(slice)?.strip_prefix('/'));
    if pattern.contains('/') && !SLICES.iter().any(|slice| is_below(slice).is_some()) {
        return invalid(
            text.span(),
            format!(
                "\"{}\" matches no unit: the path of a unit begins with {}; write that, or the name alone",
                error::plain(pattern),
                SLICES.map(|slice| format!("/{slice}/")).join(" or ")
            ),
        );
    }
    glob(text)
}

fn device(text: &Spanned<String>) -> Result<Glob, Invalid> {
    if text.get_ref().contains('/') {
        let advice = "write the name alone (wwn-0x…, mpatha, sdb) or the number (8:16)";
        return invalid(
            text.span(),
            format!("\"{}\" is a path, not a name of a disk; {advice}", error::plain(text.get_ref())),
        );
    }
    glob(text)
}

fn action(text: &Spanned<String>) -> Result<Action, Invalid> {
    let words = text.get_ref().to_ascii_uppercase().replace(['-', '_'], " ");
    let ins = InAction::ALL.iter().map(|action| (action.to_string(), Action::In(*action)));
    let outs = OutAction::ALL.iter().map(|action| (action.to_string(), Action::Out(*action)));
    let both = [("READ".to_owned(), Action::Read), ("CHANGE".to_owned(), Action::Change)];
    let all: Vec<(String, Action)> = both.into_iter().chain(ins).chain(outs).collect();
    if let Some((_, action)) = all.iter().find(|(name, _)| *name == words) {
        return Ok(*action);
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    invalid(
        text.span(),
        format!("unknown action \"{}\"; valid actions: {}", error::plain(text.get_ref()), names.join(", ")),
    )
}

fn keys(keys: &Spanned<schema::Keys>) -> Result<KeyLimit, Invalid> {
    let span = keys.span();
    let schema::Keys { prefix, bits, value, mask, own_nexus } = keys.get_ref();
    let (value, mask) = match (prefix, bits, value, mask) {
        (Some(prefix), Some(bits), None, None) => by_prefix(prefix, bits)?,
        (None, None, Some(value), Some(mask)) => by_mask(value, mask)?,
        _ => {
            return invalid(span, "keys takes prefix and bits, or value and mask; write one of the two pairs");
        }
    };
    Ok(KeyLimit { value, mask, own_nexus: *own_nexus })
}

fn by_prefix(prefix: &Spanned<Number>, bits: &Spanned<i64>) -> Result<(u64, u64), Invalid> {
    let Some(count) = u32::try_from(*bits.get_ref()).ok().filter(|bits| (1..=64).contains(bits)) else {
        return invalid(bits.span(), "bits is from 1 to 64; without any, every key would match");
    };
    let Number(prefix_bits) = prefix.get_ref();
    if count < 64 && prefix_bits >> count != 0 {
        return invalid(
            prefix.span(),
            format!("{prefix_bits:#x} has more than {count} bits; write the prefix alone, or raise bits"),
        );
    }
    let shift = 64 - count;
    Ok((prefix_bits << shift, u64::MAX << shift))
}

fn by_mask(value: &Spanned<Number>, mask: &Spanned<Number>) -> Result<(u64, u64), Invalid> {
    let (Number(bits), Number(mask_bits)) = (value.get_ref(), mask.get_ref());
    if *mask_bits == 0 {
        return invalid(mask.span(), "a mask of zero matches every key; set the bits that all keys have in common");
    }
    if bits & !mask_bits != 0 {
        return invalid(
            value.span(),
            format!(
                "{bits:#x} has bits outside the mask {mask_bits:#x}, so no key matches; clear them, or widen the mask"
            ),
        );
    }
    Ok((*bits, *mask_bits))
}
