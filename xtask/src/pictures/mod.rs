//! `cargo xtask observability --pictures`: the dashboard's panels as a manual can show them.
//!
//! No Grafana is at hand, so its part is played: a real helper has something to do, the real exporter tells of it, Debian's
//! Prometheus asks the exporter each second and is asked for each expression of the dashboard, and what it answers is drawn.
//! The alerts are loaded as well, and those that are due have to fire.

mod draw;
mod load;
mod panel;
mod prometheus;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use pr_dev::packages;
use pr_dev::workspace::{debug_builds, root};

use load::Load;
use panel::Row;
use prometheus::Prometheus;

use crate::observability::Exporter;

/// Where the manual has them.
const FOLDER: &str = "docs/manual/src/pictures";

/// What happens in the load has to be noticed.
const DUE: [&str; 4] = ["QemuPrCommandHung", "QemuPrConflictsRising", "QemuPrRefusals", "QemuPrViolations"];

/// Plays it, and draws what came of it.
pub fn run() -> Result<bool> {
    let tools = packages::unpack_for_observability()?;
    debug_builds()?;
    let load = Load::start();
    let exporter = Exporter::start([load.control()].into_iter())?;
    let prometheus = Prometheus::start(&tools, exporter.address())?;
    println!("{} s of load on a helper, and Prometheus", load::SECONDS);
    let span = load.play()?;

    let fired: BTreeSet<String> = prometheus.fired(span)?;
    println!("alerts that fired: {fired:?}");
    for alert in DUE {
        ensure!(fired.contains(alert), "{alert} did not fire");
    }
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder)?;
    let dashboard = fs::read_to_string(root().join("packaging/observability/grafana-dashboard.json"))?;
    for row in Row::all(&serde_json::from_str(&dashboard)?)? {
        let mut drawn = Vec::new();
        for panel in &row.panels {
            let lines = prometheus.ask(panel, span).with_context(|| panel.title.clone())?;
            if !lines.is_empty() {
                drawn.push((panel, lines));
            }
        }
        if drawn.is_empty() {
            println!("nothing to show: {}", row.title);
            continue;
        }
        let path = folder.join(format!("dashboard-{}.svg", row.name()));
        draw::row(&path, &drawn, load::MINUTES).with_context(|| format!("{} cannot be drawn", path.display()))?;
        println!("{} ({} bytes)", path.display(), fs::metadata(&path)?.len());
    }
    Ok(true)
}
