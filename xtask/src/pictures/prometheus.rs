//! Debian's Prometheus, unpacked, with a database of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pr_dev::workspace::root;
use serde_json::Value;
use tempfile::TempDir;

use super::panel::Panel;

/// How long it gets for its start.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Grafana fills in: a few times as long as from one question to the next, and all that is shown.
const INTERVAL: &str = "12s";
const RANGE: &str = "5m";

/// Seconds from point to point; a map of buckets has wider ones.
const STEP: u64 = 4;
const STEP_OF_A_MAP: u64 = 20;

/// A line of a panel: its name, and its values by seconds since the beginning.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub struct Prometheus {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it; it asks the exporter at this address each second, and has the alerts.
    pub fn start(tools: &Path, exporter: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let alerts = root().join("packaging/observability/alerts.yaml");
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: qemu-pr-helper\n  static_configs: [{{targets: ['{exporter}'], labels: {{instance: host1}}}}]\n",
            alerts.display()
        );
        fs::write(folder.path().join("prometheus.yml"), configuration)?;
        // A port that nobody has, so far.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(tools.join("usr/bin/prometheus"));
        command.arg("--config.file").arg(folder.path().join("prometheus.yml"));
        command.arg("--storage.tsdb.path").arg(folder.path().join("data"));
        command.args(["--web.listen-address", &address, "--log.level", "error"]).current_dir(folder.path());
        let process =
            command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().context("Prometheus cannot be started")?;
        let this = Self { process, address, _folder: folder };
        let until = Instant::now() + PATIENCE;
        while this.get("/-/ready").is_err() {
            ensure!(Instant::now() < until, "Prometheus does not become ready");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(this)
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {answer}");
        Ok(body.to_owned())
    }

    /// What an expression is over this span of time, in seconds since the epoch.
    fn range(&self, expression: &str, span: [f64; 2], step: u64) -> Result<Vec<Value>> {
        let path = format!(
            "/api/v1/query_range?query={}&start={:.0}&end={:.0}&step={step}",
            encoded(expression),
            span[0],
            span[1]
        );
        let answer: Value = serde_json::from_str(&self.get(&path)?)?;
        answer["data"]["result"].as_array().cloned().with_context(|| format!("{expression}: {answer}"))
    }

    /// The lines of a panel, in the order of its targets. What is zero throughout is left out, as is what is not there.
    pub fn ask(&self, panel: &Panel, span: [f64; 2]) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for target in &panel.targets {
            let expression = target.expression.replace("$__rate_interval", INTERVAL).replace("$__range", RANGE);
            let expression = expression.replace("$instance", ".*");
            let step = if panel.is_heatmap { STEP_OF_A_MAP } else { STEP };
            for series in self.range(&expression, span, step)? {
                let line = Line { name: named(&target.legend, &series["metric"]), points: points(&series, span[0])? };
                if panel.is_heatmap || line.points.iter().any(|(_, value)| *value != 0.0) {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }

    /// The alerts that fired in this span of time.
    pub fn fired(&self, span: [f64; 2]) -> Result<BTreeSet<String>> {
        let series = self.range("ALERTS{alertstate=\"firing\"}", span, 1)?;
        let names = series.iter().filter_map(|series| series["metric"]["alertname"].as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An expression as a part of a URL.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |url, byte| {
        if byte.is_ascii_alphanumeric() { url + &char::from(byte).to_string() } else { url + &format!("%{byte:02X}") }
    })
}

/// What Grafana makes of a legend's pattern: each label that is there in its place.
fn named(pattern: &str, labels: &Value) -> String {
    let mut name = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((label, behind)) = after.split_once("}}") else { break };
        name = name + before + labels[label].as_str().unwrap_or_default();
        rest = behind;
    }
    (name + rest).split_whitespace().collect::<Vec<_>>().join(" ").replace(" :", ":")
}

fn points(series: &Value, start: f64) -> Result<Vec<(f64, f64)>> {
    let mut points = Vec::new();
    for point in series["values"].as_array().context("a line without values")? {
        let (Some(time), Some(value)) = (point[0].as_f64(), point[1].as_str()) else { bail!("{point} is no point") };
        let value: f64 = value.parse()?;
        if value.is_finite() {
            points.push((time - start, value));
        }
    }
    Ok(points)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_legend_has_the_labels_that_are_there() {
        let labels = json!({"instance": "host1", "action": "READ KEYS"});
        assert_eq!(named("{{instance}} {{helper}} {{action}}", &labels), "host1 READ KEYS");
        assert_eq!(named("{{instance}} {{helper}}: {{action}}", &labels), "host1: READ KEYS");
        assert_eq!(named("median", &labels), "median");
    }

    #[test]
    fn what_is_not_a_number_is_no_point() {
        let series = json!({"values": [[100.0, "1.5"], [102.0, "NaN"], [104.0, "+Inf"], [106.0, "0"]]});
        assert_eq!(points(&series, 100.0).expect("points"), [(0.0, 1.5), (6.0, 0.0)]);
    }

    #[test]
    fn an_expression_survives_a_url() {
        assert_eq!(encoded("sum by (a) (b{c=\"d\"})"), "sum%20by%20%28a%29%20%28b%7Bc%3D%22d%22%7D%29");
    }
}
