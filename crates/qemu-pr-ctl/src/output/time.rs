//! Times of the day.

use jiff::{Timestamp, tz::TimeZone};

/// The time, UTC, as in `2026-01-31T12:00:00Z`.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As in `2026-01-31T12:00:00.000001+01:00`, for microseconds since the Unix epoch; a number that is not a time is
/// printed as it is.
pub fn local(microseconds: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(microseconds).ok().and_then(|time| Timestamp::from_microsecond(time).ok());
    time.map_or_else(
        || format!("{microseconds} us"),
        |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_the_form_that_programs_read() {
        let (before, now, after) = (Timestamp::now().as_second(), now(), Timestamp::now().as_second());
        assert!(now.len() == 20 && now.ends_with('Z'), "{now}");
        let second = now.parse::<Timestamp>().expect("a time").as_second();
        assert!((before..=after).contains(&second), "{now}");
    }

    #[test]
    fn times_are_local() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone");
        assert_eq!(local(1_700_000_000_000_001, &zone), "2023-11-14T23:13:20.000001+01:00");
        assert_eq!(local(1_720_000_000_000_000, &zone), "2024-07-03T11:46:40.000000+02:00");
    }

    #[test]
    fn what_is_not_a_time_is_printed_as_it_is() {
        assert_eq!(local(u64::MAX, &TimeZone::UTC), format!("{} us", u64::MAX));
    }
}
