//! The dashboard's rows and panels, as far as they are drawn.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A row: its title, and what is below it.
pub struct Row {
    pub title: String,
    pub panels: Vec<Panel>,
}

/// A panel.
pub struct Panel {
    pub title: String,
    /// The unit of its values, as Grafana calls it.
    pub unit: String,
    /// Whether its lines are buckets of a histogram, to be shown as a map of how many there are.
    pub is_heatmap: bool,
    /// Whether its values are on a logarithmic axis.
    pub is_logarithmic: bool,
    /// Where it is: from the left, of 24 columns; from the top of the dashboard; how wide and high.
    pub place: [u32; 4],
    pub targets: Vec<Target>,
}

/// An expression, and what its lines are called.
pub struct Target {
    pub expression: String,
    pub legend: String,
}

impl Row {
    /// All rows with panels that go over time. A number for now would be that of the moment in which nothing happens any more.
    pub fn all(dashboard: &Value) -> Result<Vec<Self>> {
        let mut rows: Vec<Self> = Vec::new();
        for panel in dashboard["panels"].as_array().context("a dashboard without panels")? {
            let title = panel["title"].as_str().context("a panel without a title")?.to_owned();
            match panel["type"].as_str() {
                Some("row") => rows.push(Self { title, panels: Vec::new() }),
                Some(kind @ ("timeseries" | "heatmap")) => {
                    let row = rows.last_mut().context("a panel in front of all rows")?;
                    row.panels.push(Panel::read(panel, title, kind == "heatmap")?);
                }
                _ => {}
            }
        }
        rows.retain(|row| !row.panels.is_empty());
        Ok(rows)
    }

    /// Its title, for the name of a file.
    pub fn name(&self) -> String {
        self.title.to_lowercase().replace(' ', "-")
    }
}

impl Panel {
    fn read(panel: &Value, title: String, is_heatmap: bool) -> Result<Self> {
        let number = |name: &str| panel["gridPos"][name].as_u64().and_then(|number| u32::try_from(number).ok());
        let mut place = [0; 4];
        for (number_of, name) in place.iter_mut().zip(["x", "y", "w", "h"]) {
            *number_of = number(name).with_context(|| format!("{title} has no {name}"))?;
        }
        let text = |target: &Value, name: &str| target[name].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().context("a panel without targets")?;
        let targets = targets
            .iter()
            .map(|target| Target { expression: text(target, "expr"), legend: text(target, "legendFormat") });
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or("short").to_owned();
        let is_logarithmic = panel["fieldConfig"]["defaults"]["custom"]["scaleDistribution"]["type"] == "log";
        Ok(Self { title, unit, is_heatmap, is_logarithmic, place, targets: targets.collect() })
    }
}
