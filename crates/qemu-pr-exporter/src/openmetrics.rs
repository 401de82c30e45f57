//! The text that monitoring systems read: OpenMetrics 1.0, and the older text format of Prometheus (0.0.4), which
//! differ in the names of counters, in units and in the last line.

use std::fmt::Write as _;

/// How the text is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Plain,
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow until the helper is restarted.
    Counter,
    /// They come and go.
    Gauge,
    /// How many took how long.
    Histogram,
    /// Words, with the number 1.
    Info,
}

/// A number with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What stands behind the family's name.
    pub suffix: &'static str,
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The number as it is written.
    pub value: String,
}

impl Format {
    /// The value of Content-Type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes a family: what it is, and its samples. One without samples is left out.
    pub fn family(self, text: &mut String, name: &str, kind: Kind, help: &str, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        // The older format knows samples only, and no words.
        let (name_told, kind_told) = match (self, kind) {
            (Self::OpenMetrics, Kind::Info) => (name.to_owned(), "info"),
            (Self::Plain, Kind::Info) => (format!("{name}_info"), "gauge"),
            (Self::OpenMetrics, Kind::Counter) => (name.to_owned(), "counter"),
            (Self::Plain, Kind::Counter) => (format!("{name}_total"), "counter"),
            (_, Kind::Gauge) => (name.to_owned(), "gauge"),
            (_, Kind::Histogram) => (name.to_owned(), "histogram"),
        };
        let _ = writeln!(text, "# HELP {name_told} {}", escaped(help));
        let _ = writeln!(text, "# TYPE {name_told} {kind_told}");
        if self == Self::OpenMetrics && name.ends_with("_seconds") {
            let _ = writeln!(text, "# UNIT {name} seconds");
        }
        for Sample { suffix, labels, value } in samples {
            text.push_str(name);
            text.push_str(suffix);
            for (index, (label, value)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(value));
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }

    /// Writes the end of the page.
    pub fn end(self, text: &mut String) {
        if self == Self::OpenMetrics {
            text.push_str("# EOF\n");
        }
    }
}

/// Microseconds as seconds, in digits. Programs compare bounds as texts, and 1 is written 1.0 there.
pub fn seconds(microseconds: u64) -> String {
    let digits = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
    let short = digits.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, kind: Kind, suffix: &'static str) -> String {
        let mut text = String::new();
        let labels = vec![("rule", "a \"quoted\\\nword".to_owned()), ("b", String::new())];
        let samples = [Sample { suffix, labels, value: "1".to_owned() }];
        format.family(&mut text, "x_seconds", kind, "Some \\ words.", &samples);
        format.end(&mut text);
        text
    }

    #[test]
    fn a_family_is_told_in_both_formats() {
        let sample = r#"{rule="a \"quoted\\\nword",b=""} 1"#;
        assert_eq!(
            written(Format::OpenMetrics, Kind::Counter, "_total"),
            format!(
                "# HELP x_seconds Some \\\\ words.\n# TYPE x_seconds counter\n# UNIT x_seconds seconds\n\
                 x_seconds_total{sample}\n# EOF\n"
            )
        );
        assert_eq!(
            written(Format::Plain, Kind::Counter, "_total"),
            format!(
                "# HELP x_seconds_total Some \\\\ words.\n# TYPE x_seconds_total counter\nx_seconds_total{sample}\n"
            )
        );
        assert!(written(Format::OpenMetrics, Kind::Info, "_info").contains("# TYPE x_seconds info\n"));
        assert!(written(Format::Plain, Kind::Info, "_info").contains("# TYPE x_seconds_info gauge\n"));
    }

    #[test]
    fn seconds_are_exact() {
        for (microseconds, expected) in [
            (0, "0.0"),
            (50, "0.00005"),
            (1_000_000, "1.0"),
            (30_000_000, "30.0"),
            (1_700_000_000_000_001, "1700000000.000001"),
        ] {
            assert_eq!(seconds(microseconds), expected);
        }
    }
}
