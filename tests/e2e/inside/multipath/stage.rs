//! One helper on the scene, and who goes through it to the map: an administrator with `qemu-pr-ctl`, or QEMU.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use qemu_pr_protocol::Client;

use super::port::Port;
use super::scene::{MAP, Scene};
use super::services;
use crate::helper::{Helper, through};
use crate::report::{Report, remark};
use crate::request::{Answer, Request};
use crate::tool::{Told, Tool};
use crate::wait;

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
    name: String,
    options: Vec<String>,
    tool: Tool,
    client: Option<Client>,
    helper_log: Log,
    multipathd_log: Log,
}

/// A growing file, and how much of it belongs to what is over.
struct Log {
    file: PathBuf,
    over: usize,
}

impl Log {
    fn new(file: PathBuf) -> Self {
        Self { file, over: 0 }
    }

    fn text(&self) -> String {
        fs::read(&self.file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn new_text(&self) -> String {
        self.text().split_off(self.over)
    }

    fn turn_the_page(&mut self) {
        self.over = self.text().len();
    }
}

/// Starts a helper whose messages are added to the log.
fn start(name: &str, options: &[&str], log: &Log) -> Result<Helper> {
    let log = File::options().append(true).open(&log.file)?;
    let helper = Helper::start_logging_to(name, options, Stdio::from(log))?;
    fs::set_permissions(helper.socket(), fs::Permissions::from_mode(0o777))?;
    Ok(helper)
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
        let helper_log = Log::new(folder.join("log"));
        let mut multipathd_log = Log::new(PathBuf::from(services::LOG));
        multipathd_log.turn_the_page();
        let options = [identity.options(), options].concat();
        File::create(&helper_log.file)?;
        let helper = start(&name, &options, &helper_log)?;
        let tool = Tool::new(&helper, &Path::new("/dev/mapper").join(MAP));
        let options = options.into_iter().map(str::to_owned).collect();
        Ok(Self { scene, helper, identity, reference, name, options, tool, client: None, helper_log, multipathd_log })
    }

    /// Kills the helper without a warning, and starts another one in its place as a service manager would.
    pub fn restart(&mut self) -> Result<()> {
        self.helper.kill()?;
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.client = None;
        self.helper = start(&self.name, &options, &self.helper_log)?;
        Ok(())
    }

    /// Makes the checks, each from the same start.
    pub fn make(&mut self, report: &mut Report, checks: &[Check]) {
        for (name, check) in checks {
            let result = self.scene.reset().context("the scene could not be reset").and_then(|()| check(self));
            self.report(report, name, result);
        }
    }

    /// Reports a check. Of one that failed, what the helper and multipathd had to say is shown.
    pub fn report(&mut self, report: &mut Report, name: &str, result: Result<()>) {
        let failed = result.is_err();
        let name = format!("{}: {name}", self.identity.word());
        if self.reference {
            report.show(&name, || result);
        } else {
            report.check(&name, || result);
        }
        if failed {
            for (who, log) in [("helper", &self.helper_log), ("multipathd", &self.multipathd_log)] {
                for line in log.new_text().lines() {
                    remark(&format!("   {who}: {line}"));
                }
            }
        }
        self.helper_log.turn_the_page();
        self.multipathd_log.turn_the_page();
    }

    /// Ends the helper.
    pub fn end(self, report: &mut Report) {
        report.check(&format!("{}: the helper ends on SIGTERM", self.identity.word()), || self.helper.stop());
    }

    /// Has `qemu-pr-ctl` send a command through the helper to the map.
    pub fn send(&self, request: &Request) -> Result<Told> {
        self.tool.send(request)
    }

    /// The same, and nothing but GOOD will do.
    pub fn good(&self, request: &Request) -> Result<Told> {
        self.send(request)?.good().with_context(|| request.name.clone())
    }

    /// The same, and nothing but RESERVATION CONFLICT will do.
    pub fn conflict(&self, request: &Request) -> Result<()> {
        self.send(request)?.conflict().with_context(|| request.name.clone())
    }

    /// Sends a command as QEMU does, on a connection that stays: what the tool never sends, and what is compared byte by
    /// byte.
    pub fn as_qemu(&mut self, request: &Request) -> Result<Answer> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.helper.client()?,
        };
        let answer = through(&mut client, &self.scene.map.file, request)?;
        // One that failed is not used again: its answer might come late.
        self.client = Some(client);
        Ok(answer)
    }

    /// All that the helper has said since the check began.
    pub fn new_log(&self) -> String {
        self.helper_log.new_text()
    }

    /// Waits for the helper to say something about `word`: it answers first and writes its messages then.
    pub fn expect_log(&self, word: &str) -> Result<()> {
        let what = format!("the helper to say something about {word}");
        wait::until(&what, Duration::from_secs(20), || Ok(self.new_log().contains(word).then_some(())))
            .with_context(|| format!("the helper said: {}", self.new_log()))
    }

    /// The third initiator does something, not through the helper.
    pub fn third(&self, request: &Request) -> Result<Answer> {
        let third: &Port = &self.scene.third;
        third.settle()?;
        third.directly(request)?.good()
    }
}
