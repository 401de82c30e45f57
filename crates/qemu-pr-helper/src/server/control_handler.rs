//! What the control socket can ask of the server.

use std::{path::Path, sync::Arc};

use pr_control::{Connection, Failure, InFlight, Settings, Snapshot};
use tracing::info;

use super::{closer::Closing, context::Server, status::Snapshot as Status};
use crate::{
    audit::Audit,
    clock::{self, micros},
    config::{
        self,
        settings::{ProvidedIds, StartupOptions},
    },
    control::Handler,
    log::Log,
};

/// Answers for the server.
pub struct ControlHandler {
    pub server: Arc<Server>,
    pub log: Arc<Log>,
    /// They cannot change any more.
    pub options: StartupOptions,
}

impl Handler for ControlHandler {
    fn snapshot(&self) -> Snapshot {
        let uptime_us = micros(clock::uptime());
        let metrics = &self.server.shared.metrics;
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_us: clock::unix_micros().saturating_sub(uptime_us),
            uptime_us,
            max_connections: u64::try_from(self.server.connections.capacity()).unwrap_or(u64::MAX),
            totals: metrics.totals(self.log.lost()),
            requests: metrics.requests(),
            violations: metrics.violations(),
            refusals: metrics.refusals(),
            connections: self.connections(),
            trace: self.log.traced.enabled().into_iter().map(str::to_owned).collect(),
            settings: self.server.shared.policy.current().map(|current| Settings {
                path: current.path.display().to_string(),
                rules: u64::try_from(current.settings.rules.len()).unwrap_or(u64::MAX),
                since_us: current.since_us,
            }),
        }
    }

    fn reload(&self, path: &str, text: &str, directory: &ProvidedIds) -> Result<(u64, Vec<String>), String> {
        let settings = config::parse_settings(Path::new(path), text, directory).map_err(|error| {
            let still = if self.server.shared.policy.current().is_some() {
                "the helper keeps its settings"
            } else {
                "the helper has no settings"
            };
            format!("{error}; {still}")
        })?;
        info!("{path}: new settings are in force, with {} rules", settings.rules.len());
        let rules = u64::try_from(settings.rules.len()).unwrap_or(u64::MAX);
        let mut warnings = settings.warnings.clone();
        let changed = self.options.changed(&settings.defaults);
        if !changed.is_empty() {
            warnings.push(format!(
                "[defaults] applies when a helper starts, and this one was started with other values ({}); restart it to apply them",
                changed.join(", ")
            ));
        }
        self.server.shared.policy.replace(path.into(), settings);
        Ok((rules, warnings))
    }

    fn trace(&self, patterns: &[String]) -> Vec<String> {
        self.log.traced.set(patterns)
    }
}

impl ControlHandler {
    /// Those that have a slot, and then those that are gone and of which something is being closed.
    fn connections(&self) -> Vec<Connection> {
        let audit = &self.server.shared.audit;
        let seen = self.server.connections.all().filter_map(|slot| slot.status.snapshot());
        let mut all: Vec<_> = seen.map(|status| connection(audit, status)).collect();
        for Closing { origin, since } in self.server.closer.closing() {
            if all.iter().all(|connection| connection.client.connection != origin.client) {
                let closing_us = Some(micros(since.elapsed()));
                all.push(Connection { client: audit.client(origin), closing_us, ..Connection::default() });
            }
        }
        all
    }
}

fn connection(audit: &Audit, status: Status) -> Connection {
    Connection {
        client: audit.client(status.origin),
        age_us: micros(status.age),
        requests: status.requests,
        in_flight: status.under_way.map(|under_way| InFlight {
            action: under_way.command.to_string(),
            device: Some(audit.device(under_way.device)),
            for_us: micros(under_way.since),
        }),
        last_failure: status.failure.map(|failed| Failure {
            action: failed.command.to_string(),
            status: failed.status.to_string(),
            sense: failed.sense.map(|sense| sense.to_string()),
            ago_us: micros(failed.ago),
        }),
        closing_us: status.closing.map(micros),
    }
}
