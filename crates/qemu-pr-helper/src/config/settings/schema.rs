//! The file as it is written: every key that it may have, and nothing else.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{
    error::{Invalid, invalid, plain},
    types::Decision,
};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct File {
    pub default: Decision,
    pub defaults: Defaults,
    pub devices: Devices,
    pub limits: Limits,
    pub rule: Vec<Spanned<Rule>>,
}

/// The options that the file may have: each in `[defaults]`, by its long name.
macro_rules! defaults {
    ($($field:ident = $name:literal),+ $(,)?) => {
        /// `[defaults]`: each key is the name of an option.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Defaults {
            $(#[serde(rename = $name)] pub $field: Option<Spanned<Scalar>>,)+
        }

        impl Defaults {
            /// Those that are there, by name.
            pub fn into_values(self) -> impl Iterator<Item = (&'static str, Spanned<Scalar>)> {
                [$(($name, self.$field)),+].into_iter().filter_map(|(name, value)| Some((name, value?)))
            }
        }
    };
}

defaults! {
    verbose = "verbose",
    quiet = "quiet",
    log_format = "log-format",
    max_connections = "max-connections",
    request_timeout = "request-timeout",
    command_timeout = "command-timeout",
    drain_timeout = "drain-timeout",
    audit = "audit",
    audit_keys = "audit-keys",
    control = "control",
    control_group = "control-group",
    sandbox = "sandbox",
}

/// The value of an option.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a string, a number, true or false")]
pub enum Scalar {
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// `[devices]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Devices {
    pub parts: Option<Decision>,
    pub single_path_reservations: Option<Decision>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    pub connections_per_user: Option<Spanned<i64>>,
    pub connections_per_process: Option<Spanned<i64>>,
    pub requests_per_second: Option<Spanned<i64>>,
    pub burst: Option<Spanned<i64>>,
    pub commands_per_device: Option<Spanned<i64>>,
}

/// `[[rule]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rule {
    pub name: Option<Spanned<String>>,
    pub user: Option<Spanned<Vec<Spanned<Who>>>>,
    pub group: Option<Spanned<Vec<Spanned<Who>>>>,
    pub unit: Option<Spanned<Vec<Spanned<String>>>>,
    pub selinux: Option<Spanned<Vec<Spanned<String>>>>,
    pub device: Option<Spanned<Vec<Spanned<String>>>>,
    pub action: Option<Spanned<Vec<Spanned<String>>>>,
    pub decision: Decision,
    pub keys: Option<Spanned<Keys>>,
}

/// `keys = { … }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Keys {
    pub prefix: Option<Spanned<Number>>,
    pub bits: Option<Spanned<i64>>,
    pub value: Option<Spanned<Number>>,
    pub mask: Option<Spanned<Number>>,
    pub own_nexus: bool,
}

/// A user or a group.
#[derive(Debug)]
pub enum Who {
    Name(String),
    Number(i64),
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Who;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Who, E> {
                Ok(Who::Name(name.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Who, E> {
                Ok(Who::Number(number))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The two highest numbers mean "none" to the kernel.
const MAX_ID: i64 = 4_294_967_293;

/// The number of a user or a group.
pub fn number(what: &str, who: Spanned<Who>, look_up: impl Fn(&str) -> Option<u32>) -> Result<u32, Invalid> {
    let span = who.span();
    let valid = |number: i64| u32::try_from(number).ok().filter(|_| number <= MAX_ID);
    match who.into_inner() {
        Who::Number(number) => valid(number).map_or_else(
            || invalid(span, format!("{number} is not the number of a {what}; the range is 0 to {MAX_ID}")),
            Ok,
        ),
        Who::Name(name) => {
            let number = look_up(&name).or_else(|| name.parse().ok().and_then(valid));
            number.map_or_else(
                || {
                    invalid(
                        span,
                        format!(
                            "there is no {what} \"{}\" on this system; create it, or write its number",
                            plain(&name)
                        ),
                    )
                },
                Ok,
            )
        }
    }
}

/// Eight bytes. TOML's integers end at 63 bits, so that the upper half of the keys can only be written as a string.
#[derive(Debug)]
pub struct Number(pub u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key: a string with 0x and up to 16 hexadecimal digits, or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
                // from_str_radix takes a sign.
                let number = digits
                    .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok());
                number.map(Number).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                let valid = u64::try_from(number).ok();
                valid.map(Number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
