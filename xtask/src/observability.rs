//! `cargo xtask observability`: the alerts by promtool, and the exporter's page by the parsers of the Prometheus project.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use pr_dev::packages;
use pr_dev::workspace::{debug_builds, root, run as run_command, target};
use pr_lab::{ControlStandIn, eventful_snapshot};
use serde_json::{Value, json};

/// Reads a page as strictly as the Prometheus project does, and tells how many families there are.
const READ: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(len(list(text_string_to_metric_families(sys.stdin.read()))))
";

/// Runs all of it; the first thing that is wrong ends it.
pub fn run() -> Result<bool> {
    let tools = packages::unpack_for_observability()?;
    let promtool = || {
        let mut command = Command::new(tools.join("usr/bin/promtool"));
        command.current_dir(root().join("packaging/observability"));
        command
    };
    for words in ["check rules alerts.yaml", "check config prometheus.yml", "test rules alerts_test.yaml"] {
        run_command(promtool().args(words.split(' ')))?;
    }
    let rules = target().join("observability/dashboard.json");
    fs::write(&rules, dashboard_rules()?)?;
    run_command(promtool().args(["check", "rules"]).arg(&rules))?;

    debug_builds()?;
    let helper = ControlStandIn::telling(eventful_snapshot());
    // With one helper, and with two: then every line has one more label.
    for controls in [&[helper.path()][..], &[helper.path(), helper.dir().join("nobody")]] {
        let mut exporter = Exporter::start(controls.iter())?;
        let plain = exporter.page("text/plain")?;
        feed(promtool().args(["check", "metrics"]), &plain)?;
        let page = exporter.page("application/openmetrics-text")?;
        let mut python = Command::new("python3");
        python.args(["-c", READ]).env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"));
        let families = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
        let read = feed(&mut python, &page)?;
        ensure!(families > 0 && read.trim() == families.to_string(), "{read} of {families} families can be read");
        println!("the exporter's page: {families} families, read by promtool and by prometheus_client");
    }
    Ok(true)
}

/// The dashboard's expressions as rules: promtool knows no dashboards, but whether these are sound.
fn dashboard_rules() -> Result<String> {
    let dashboard = fs::read_to_string(root().join("packaging/observability/grafana-dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("a dashboard without panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let rules: Vec<Value> = targets
        .enumerate()
        .map(|(number, target)| {
            let expression = target["expr"].as_str().unwrap_or_default();
            // What Grafana fills in.
            let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "6h");
            json!({"record": format!("panel:{number}"), "expr": expression})
        })
        .collect();
    Ok(json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string())
}

/// A running exporter.
pub struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    /// Starts one that asks these helpers.
    pub fn start(controls: impl Iterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let program = target().join("debug").join("qemu-pr-exporter");
        let mut command = Command::new(&program);
        command.args(["--listen", "127.0.0.1:0"]);
        for control in controls {
            command.arg("--control").arg(control.as_ref());
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        let mut exporter = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(exporter.child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/metrics"));
        address.context("the exporter does not say where it listens")?.clone_into(&mut exporter.address);
        Ok(exporter)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn page(&mut self, accept: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the exporter's answer has no body")?;
        ensure!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(accept), "the exporter answers {head}");
        Ok(body.to_owned())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command with this as its input; what it prints.
fn feed(command: &mut Command, input: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| anyhow::anyhow!("{name} cannot be started: {error}"))?;
    let mut stdin = child.stdin.take().context("no input")?;
    // Whoever refuses a page early does not read its rest, and says so below.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let (mut said, mut complaint) = (String::new(), String::new());
    child.stdout.take().context("no output")?.read_to_string(&mut said)?;
    child.stderr.take().context("no output")?.read_to_string(&mut complaint)?;
    let status = child.wait()?;
    ensure!(status.success(), "{name} refuses the exporter's page: {said}{complaint}");
    Ok(said)
}
