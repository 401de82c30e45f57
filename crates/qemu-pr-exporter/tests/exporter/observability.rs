//! The dashboard and the alerts are about what the exporter serves, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use pr_lab::{ControlStandIn, eventful_snapshot};
use serde_json::Value;

use crate::{exporter::Exporter, run::run};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/observability").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every name of a metric in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("qemu_pr_helper_")).map(str::to_owned).collect()
}

/// The names of all samples of an exporter whose helper has seen everything.
fn served() -> BTreeSet<String> {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let families = Exporter::start(&[helper.path()]).metrics();
    families.into_values().flat_map(|family| family.samples).map(|sample| sample.0).collect()
}

/// Every expression of the dashboard, in panels and in variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("expr" | "definition" | "query", Some(text)) => found.push(text.to_owned()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_know_only_what_the_exporter_serves() {
    let served = served();
    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).expect("JSON");
    let mut told = Vec::new();
    expressions(&dashboard, &mut told);
    let used = names(&told.join("\n"));
    assert!(used.len() >= 15, "{used:?}");
    for name in used.union(&names(&file("alerts.yaml"))) {
        assert!(served.contains(name), "{name} is not served");
    }
    // Each metric is on a panel.
    let parts = |name: &&String| !name.ends_with("_sum") && !name.ends_with("_count");
    let unseen: Vec<_> = served.iter().filter(parts).filter(|name| !used.contains(*name)).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).expect("JSON");
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["__inputs"][0]["type"], "datasource");
    let input = format!("${{{}}}", dashboard["__inputs"][0]["name"].as_str().expect("a name"));
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut numbers = BTreeSet::new();
    let mut places: Vec<(u64, u64, u64, u64)> = Vec::new();
    for panel in panels {
        assert!(numbers.insert(panel["id"].as_u64()), "two panels {}", panel["id"]);
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(x + w <= 24, "{}", panel["title"]);
        for (x2, y2, w2, h2) in &places {
            let apart = x + w <= *x2 || x2 + w2 <= x || y + h <= *y2 || y2 + h2 <= y;
            assert!(apart, "{} lies on another panel", panel["title"]);
        }
        places.push((x, y, w, h));
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"].as_str(), Some(input.as_str()), "{}", panel["title"]);
        assert!(panel["description"].as_str().is_some_and(|words| words.ends_with('.')), "{}", panel["title"]);
        assert!(!panel["targets"].as_array().expect("targets").is_empty(), "{}", panel["title"]);
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts = file("alerts.yaml");
    let rules: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 8, "{} alerts", rules.len());
    let tests = file("alerts_test.yaml");
    for rule in rules {
        let name = rule.lines().next().expect("a name");
        for part in ["expr:", "severity:", "summary:", "description:"] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        let fires = format!("alertname=\"{name}\", alertstate=\"firing\"");
        let says = format!("alertname: {name}\n        eval_time: 1m\n        exp_alerts:");
        assert!(tests.contains(&fires) || tests.contains(&says), "no test has {name} fire");
    }
}

#[test]
fn the_example_scrapes_where_the_exporter_listens() {
    assert!(file("prometheus.yml").contains("127.0.0.1:9437"));
    assert!(run(&["--help"]).expect_done().contains("[default: 127.0.0.1:9437]"));
}
