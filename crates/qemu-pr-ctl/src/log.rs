//! `log`: the helper's audit trail, as it grows.

use std::io::{self, IsTerminal as _};

use jiff::{Timestamp, tz::TimeZone};
use pr_control::{Control, Record, Told};
use serde::Serialize;

use crate::{
    cli::{Helper, Options},
    error::Error,
    out, which,
};

/// A gap in the trail, for programs: it looks like a record that happened to this client.
#[derive(Serialize)]
struct Gap {
    event: &'static str,
    count: u64,
}

/// Follows until interrupted, or until the helper hangs up.
pub fn run(options: &Options, helper: &Helper) -> Result<(), Error> {
    let path = which::control(&helper.control)?;
    let control = Control::new(&path, options.control_patience());
    let zone = TimeZone::system();
    let folds = io::stdout().is_terminal();
    for told in control.follow().map_err(Error::Control)? {
        match (told.map_err(Error::Control)?, options.json) {
            (Told::Record(record), true) => out::json_line(&record)?,
            (Told::Lost(count), true) => out::json_line(&Gap { event: "lost", count })?,
            (Told::Record(record), false) => print(&line(&record, &zone), folds)?,
            (Told::Lost(count), false) => {
                let text =
                    format!("{count} records are missing here: this side read too slowly, the helper's log has them");
                print(&text, folds)?;
            }
        }
    }
    Err(Error::TrailEnds(path))
}

fn print(line: &str, folds: bool) -> Result<(), Error> {
    if folds { out::print(&(out::fold(line, 4) + "\n")) } else { out::print(&format!("{line}\n")) }
}

/// The local time, and the record in words.
fn line(record: &Record, zone: &TimeZone) -> String {
    let text = record.to_string();
    format!("{}  {}", time(record.time_us, zone), out::plain(&text))
}

/// As in `2026-01-31T12:00:00.000001+01:00`; what is no time at all is told as it came.
fn time(microseconds: u64, zone: &TimeZone) -> String {
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
    fn times_are_local() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone");
        assert_eq!(time(1_700_000_000_000_001, &zone), "2023-11-14T23:13:20.000001+01:00");
        assert_eq!(time(1_720_000_000_000_000, &zone), "2024-07-03T11:46:40.000000+02:00");
    }

    #[test]
    fn what_is_no_time_is_told_as_it_came() {
        assert_eq!(time(u64::MAX, &TimeZone::UTC), format!("{} us", u64::MAX));
    }
}
