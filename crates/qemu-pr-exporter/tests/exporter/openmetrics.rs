//! A strict reader of OpenMetrics 1.0 text, for tests: it takes no page that any reader might refuse. (`cargo xtask test`
//! has the page read by the Prometheus project's own parser as well.)

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name, its labels, its value.
pub type Sample = (String, BTreeMap<String, String>, f64);

/// A family.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// The families of a page, by name; panics where it is none.
#[track_caller]
pub fn read(page: &str) -> BTreeMap<String, Family> {
    let lines = page.strip_suffix("# EOF\n").expect("the last line is # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect(line);
            let (name, value) = rest.split_once(' ').expect(line);
            if name != current {
                assert!(!families.contains_key(name), "{name} is in two places");
                name.clone_into(&mut current);
                families.insert(current.clone(), Family { kind: String::new(), samples: Vec::new() });
            }
            let family = families.get_mut(name).expect("a family");
            assert!(family.samples.is_empty(), "{line} comes late");
            assert!(seen.insert(format!("{word} {name}")), "{line} comes twice");
            match word {
                "TYPE" => value.clone_into(&mut family.kind),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                "HELP" => assert!(value.ends_with('.'), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line);
        let family = families.get_mut(&current).expect(line);
        let suffix = sample.0.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is not of {current}"));
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{line} is of the kind {kind:?}"),
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(sample.2 >= 0.0, "{line}");
        assert!(seen.insert(format!("{} {:?}", sample.0, sample.1)), "{line} comes twice");
        family.samples.push(sample);
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty() && seen.contains(&format!("HELP {name}")), "{name}");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

/// Each group has all its buckets in order, never falling, and as many in the last one as it counts.
fn check_histogram(name: &str, family: &Family) {
    let mut samples = family.samples.iter().peekable();
    while samples.peek().is_some() {
        let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
        while let Some((_, labels, value)) = samples.next_if(|sample| sample.0.ends_with("_bucket")) {
            let next = labels["le"].parse().expect("a bound");
            assert!(next > bound && *value >= count, "{name} {labels:?}");
            assert!(labels["le"].contains(['.', '+']), "{name} {labels:?}");
            (bound, count) = (next, *value);
        }
        assert!(bound == f64::INFINITY, "{name}");
        assert!(samples.next().is_some_and(|sample| sample.0.ends_with("_sum")), "{name}");
        let counted = samples.next().expect("a count");
        assert!(counted.0.ends_with("_count") && (counted.2 - count).abs() < 0.5, "{name}");
    }
}

/// `name{label="value"} 1`.
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").expect(line);
            let (value, behind) = quoted(behind).expect(line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match behind.split_at(1) {
                (",", behind) => rest = behind,
                ("}", behind) => break rest = behind,
                _ => panic!("{line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name.to_owned(), labels, value.parse().expect(line))
}

/// A text up to its quotation mark, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in text.char_indices() {
        match (escaped, letter) {
            (true, 'n') => value.push('\n'),
            (true, '"' | '\\') => value.push(letter),
            (true, _) => return None,
            (false, '"') => return Some((value, &text[at + 1..])),
            (false, '\\') => {}
            (false, _) => value.push(letter),
        }
        escaped = !escaped && letter == '\\';
    }
    None
}
