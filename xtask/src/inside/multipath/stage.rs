//! One helper on the scene, and a client of it that is a guest on the map.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use pr_wire::Client;

use super::port::Port;
use super::scene::Scene;
use crate::helper::{Helper, through};
use crate::report::{Report, remark};
use crate::request::{Answer, Request};

/// The ids of nobody and nogroup, as the image has them.
pub const NOBODY: u32 = 65534;

/// One check: its name, and what is done for it on a scene that was reset before.
pub type Check = (&'static str, fn(&mut Stage<'_>) -> Result<()>);

/// As whom the helper runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Root,
    Nobody,
}

impl Identity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Nobody => "nobody",
        }
    }

    /// The options that make a helper run so.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Nobody => &["-u", "nobody", "-g", "nogroup"],
        }
    }
}

/// The scene with a helper.
pub struct Stage<'a> {
    pub scene: &'a mut Scene,
    pub helper: Helper,
    pub identity: Identity,
    /// The original knows no deadlines, nor the options that set them.
    pub reference: bool,
    client: Option<Client>,
    log: PathBuf,
    /// How much of the log was shown or belongs to checks that held.
    read: usize,
}

impl<'a> Stage<'a> {
    /// Starts a helper as somebody, with more options; the name tells its socket and log from those of others.
    pub fn set(
        scene: &'a mut Scene,
        identity: Identity,
        reference: bool,
        name: &str,
        options: &[&str],
    ) -> Result<Self> {
        let name = format!("{name}-{}", identity.word());
        // It has to be able to remove its socket again.
        let folder = PathBuf::from("/run").join(&name);
        fs::create_dir_all(&folder)?;
        if identity == Identity::Nobody {
            chown(&folder, Some(NOBODY), Some(NOBODY))?;
        }
        let log = folder.join("log");
        let options = [identity.options(), options].concat();
        let helper = Helper::start_logging_to(&name, &options, Stdio::from(File::create(&log)?))?;
        fs::set_permissions(helper.socket(), fs::Permissions::from_mode(0o777))?;
        Ok(Self { scene, helper, identity, reference, client: None, log, read: 0 })
    }

    /// Makes the checks, each from the same start.
    pub fn make(&mut self, report: &mut Report, checks: &[Check]) {
        for (name, check) in checks {
            self.read = self.log().len();
            let result = self.scene.reset().context("the scene could not be reset").and_then(|()| check(self));
            self.report(report, name, result);
        }
    }

    /// Reports a check. Of one that failed, the helper's messages are shown.
    pub fn report(&mut self, report: &mut Report, name: &str, result: Result<()>) {
        let failed = result.is_err();
        let name = format!("{}: {name}", self.identity.word());
        if self.reference {
            report.show(&name, || result);
        } else {
            report.check(&name, || result);
        }
        if failed {
            for line in self.new_log().lines() {
                remark(&format!("   helper: {line}"));
            }
        }
        self.read = self.log().len();
    }

    /// Ends the helper.
    pub fn end(self, report: &mut Report) {
        report.check(&format!("{}: the helper ends on SIGTERM", self.identity.word()), || self.helper.stop());
    }

    /// Sends a command through the helper to the map.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.helper.client()?,
        };
        let answer = through(&mut client, &self.scene.map.file, request)?;
        // One that failed is not used again: its answer might come late.
        self.client = Some(client);
        Ok(answer)
    }

    /// The same, and nothing but GOOD will do.
    pub fn good(&mut self, request: &Request) -> Result<Answer> {
        self.send(request)?.good().with_context(|| request.name.clone())
    }

    /// The same, and nothing but RESERVATION CONFLICT will do.
    pub fn conflict(&mut self, request: &Request) -> Result<()> {
        self.send(request)?.conflict().with_context(|| request.name.clone())
    }

    /// All that the helper has said since the check began.
    pub fn new_log(&self) -> String {
        self.log().split_off(self.read)
    }

    fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The third initiator does something, not through the helper.
    pub fn third(&self, request: &Request) -> Result<Answer> {
        let third: &Port = &self.scene.third;
        third.settle()?;
        third.directly(request)?.good()
    }
}
