//! What device-mapper says of a multipath target, taken apart (`drivers/md/dm-mpath.c`, `multipath_status`).

use pr_device::Number;

/// A path, as device-mapper has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePath {
    /// The device number.
    pub device: u64,
    /// Whether I/O may go there.
    pub active: bool,
}

/// The paths of a status text, those of the group in use first; `None` for a text that is none of a multipath target.
pub fn parse(text: &str) -> Option<Vec<TablePath>> {
    let mut words = text.split_ascii_whitespace();
    skip_counted(&mut words)?; // features
    skip_counted(&mut words)?; // hardware handler
    let groups = number(&mut words)?;
    let current = number(&mut words)?;
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for group in 1..=groups {
        let _state = words.next()?;
        skip_counted(&mut words)?; // path selector
        let (paths, arguments) = (number(&mut words)?, number(&mut words)?);
        for _ in 0..paths {
            let Number(device) = Number::parse(words.next()?)?;
            let active = words.next()? == "A";
            let _failures = words.next()?;
            skip(&mut words, arguments)?;
            let list = if group == current { &mut first } else { &mut others };
            list.push(TablePath { device, active });
        }
    }
    first.append(&mut others);
    Some(first)
}

fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<usize> {
    words.next()?.parse().ok()
}

fn skip<'a>(words: &mut impl Iterator<Item = &'a str>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| words.next().map(drop))
}

/// A count, and as many words.
fn skip_counted<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<()> {
    let count = number(words)?;
    skip(words, count)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mark = |active| if active { "" } else { " failed" };
        let paths = parse(text).unwrap();
        paths.iter().map(|path| format!("{}{}", rustix::fs::minor(path.device), mark(path.active))).collect()
    }

    #[test]
    fn paths_of_the_group_in_use_come_first() {
        // Round robin with two groups, the second in use; a service time selector has two words for each path.
        let round_robin = "2 0 1 0 2 2 E 0 2 0 8:0 A 0 8:16 F 3 A 0 1 0 8:32 A 0 ";
        assert_eq!(read(round_robin), ["32", "0", "16 failed"]);
        let service_time = "2 0 0 0 1 1 A 0 2 2 8:48 A 0 0 1 65:160 F 1 0 1 ";
        assert_eq!(read(service_time), ["48", "160 failed"]);
        // A handler with a word, no group in use yet, and none at all.
        assert_eq!(read("2 0 0 1 alua 1 0 E 0 1 0 8:0 A 0 "), ["0"]);
        assert_eq!(read("2 0 0 0 0 0 "), [""; 0]);
    }

    #[test]
    fn what_is_no_status_of_a_multipath_target_is_nothing() {
        for text in ["", "x", "2 0", "0 0 1 1", "0 0 1 1 A 0 1 0 8:x A 0", "0 0 1 1 A 0 1 0 8:0 A", "0 0 99999 1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
