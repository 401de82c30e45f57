//! Values on the command line that several subcommands take.

use std::time::Duration;

use scsi_persistent_reservations::{ReservationKey, ReservationType};

/// A reservation key: decimal, or hexadecimal with `0x`.
pub fn key(text: &str) -> Result<ReservationKey, String> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    // Numbers of the standard library may have a sign; keys have none.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("a key is a decimal number, or a hexadecimal number with the prefix 0x".to_owned());
    }
    u64::from_str_radix(digits, radix).map(ReservationKey).map_err(|_| "a key has at most 64 bits".to_owned())
}

/// A key that a registration can have.
pub fn new_key(text: &str) -> Result<ReservationKey, String> {
    match key(text)? {
        ReservationKey::ZERO => Err("zero is not a key; 'unregister' removes a registration".to_owned()),
        key => Ok(key),
    }
}

/// A reservation type, by its name or by SPC's number.
pub fn reservation_type(text: &str) -> Result<ReservationType, String> {
    let named = ReservationType::ALL.into_iter().find(|kind| kind.name() == text);
    let numbered = || text.parse().ok().and_then(ReservationType::from_code);
    named.or_else(numbered).ok_or_else(|| {
        let known = ReservationType::ALL.map(|kind| format!("{} ({})", kind.name(), kind.code()));
        format!("valid types: {}", known.join(", "))
    })
}

/// A time in seconds.
pub fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a time in seconds from 0.01 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decimal_or_hexadecimal() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("10", 10),
            ("0010", 10),
            ("0x10", 16),
            ("0XaBcD", 0xabcd),
            ("0xffffffffffffffff", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(key(text), Ok(ReservationKey(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_reason() {
        for text in ["", "0x", "abc", "-1", "+1", "0x-1", "0x+1", "1 ", "0x12g", "1_000"] {
            assert!(key(text).is_err_and(|reason| reason.contains("the prefix 0x")), "{text}");
        }
        for text in ["18446744073709551616", "0x10000000000000000"] {
            assert!(key(text).is_err_and(|reason| reason.contains("64 bits")), "{text}");
        }
    }

    #[test]
    fn zero_is_a_key_to_name_but_none_to_register() {
        assert_eq!(new_key("0x1"), Ok(ReservationKey(1)));
        for text in ["0", "0x0"] {
            assert!(new_key(text).is_err_and(|reason| reason.contains("unregister")), "{text}");
        }
    }

    #[test]
    fn types_have_a_name_and_a_number() {
        assert_eq!(reservation_type("write-exclusive"), Ok(ReservationType::WriteExclusive));
        for kind in ReservationType::ALL {
            assert_eq!(reservation_type(kind.name()), Ok(kind));
            assert_eq!(reservation_type(&kind.code().to_string()), Ok(kind));
        }
    }

    #[test]
    fn what_is_no_type_is_answered_with_those_there_are() {
        for text in ["", "0", "2", "4", "9", "256", "-1", "shared", "Write-Exclusive"] {
            let reason = reservation_type(text).expect_err(text);
            assert!(reason.contains("write-exclusive-registrants-only (5)"), "{reason}");
        }
    }
}
