//! The doctor's bed: a host with helper, multipathd, iSCSI paths and a guest, on which one thing after the other is broken.
//! `qemu-pr-ctl doctor` has to name it first, in the words of the manual, and the command that it gives has to mend it.

mod broken;
mod guest;
mod host;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use e2e::page::{self, Place, Run, Step};
use serde_json::Value;

use crate::host::command::sh;
use crate::multipath::scene::SETTLE;
use crate::report::{Report, remark};
use crate::tool::Run as Tool;
use crate::wait;
use broken::{BROKEN, Broken, Mend};
use host::Host;

/// What the manual says of it.
const PAGE: &str = include_str!("../../../../docs/manual/src/troubleshooting.md");

/// No fault takes more commands to mend.
const MOST: usize = 4;

/// multipathd looks at its paths as often.
const MOMENT: Duration = Duration::from_secs(1);

/// Breaks one thing after the other.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    ensure!(!reference, "it is this project's tool that is tried");
    let mut host = Host::set_up()?;
    let mut manual = Manual::read()?;
    report.check("doctor finds nothing on a host on which all is well", || says_ok(&[]));
    for broken in BROKEN {
        let result = breaks(&mut host, broken, &mut manual);
        let is_well = result.is_ok();
        report.check(&format!("doctor: {}", broken.what), || result);
        if !is_well {
            host.restore()?;
        }
    }
    report.check("validate names the path that a helper without multipath leaves without its key", || {
        host.restore()?;
        names_the_path(&mut host)
    });
    report.check("the manual has no words of doctor that nobody heard here", || manual.all_heard());
    Ok(())
}

/// Breaks it, listens, and mends it.
fn breaks(host: &mut Host, broken: &Broken, manual: &mut Manual) -> Result<()> {
    let disks = (broken.disks)(host);
    says_ok(&disks).context("before anything is broken")?;
    (broken.make)(host).context("it cannot be broken")?;
    let said = host::examine(&disks)?;
    let Some(mend) = said.mend() else { bail!("doctor finds nothing") };
    let kind = said.first.as_ref().map(|(kind, _)| kind.as_str());
    let is_it =
        kind == Some(broken.kind) || kind.is_none() && broken.passes.is_some_and(|words| said.text.starts_with(words));
    if !is_it {
        remark(&said.text);
        bail!("doctor finds {kind:?} first, not {}", broken.kind);
    }
    ensure!(said.code == Some(36), "the exit status is {:?}", said.code);
    if let Err(error) = manual.hears(&disks, &said.text) {
        remark(&said.text);
        return Err(error);
    }
    match broken.mend {
        Mend::Service(mend) => mend(host)?,
        Mend::Command => sh(&mend).map(drop)?,
    }
    // One mend may bring to light what comes after it: whoever follows doctor gets to the end.
    for _ in 0..MOST {
        let Some((kind, mend)) = in_time(&disks)? else { return says_ok(&disks) };
        ensure!(broken.then.contains(&kind.as_str()), "afterwards doctor finds {kind}: {mend}");
        sh(&mend)?;
    }
    bail!("there is no end of findings")
}

/// What doctor finds once everything has settled: twice the same, or nothing.
fn in_time(disks: &[String]) -> Result<Option<(String, String)>> {
    let mut before = None;
    wait::until("doctor to find the same twice", SETTLE, || {
        let first = host::examine(disks)?.first;
        let is_settled = first.is_none() || before.as_ref() == Some(&first);
        if !is_settled {
            before = Some(first.clone());
            thread::sleep(MOMENT);
        }
        Ok(is_settled.then_some(first))
    })
}

fn says_ok(disks: &[String]) -> Result<()> {
    let said = host::examine(disks)?;
    ensure!((said.code, said.text.as_str()) == (Some(0), "ok\n"), "doctor says {}", said.text);
    Ok(())
}

/// QEMU's helper, as Debian builds it, registers whichever path the map's next command takes.
fn names_the_path(host: &mut Host) -> Result<()> {
    let map = host::map().display().to_string();
    host::does(&["unregister", "--key", &format!("{:#x}", host::KEY), &map])?;
    // multipathd may have been about to register a path when it was started; the helper takes the key from it then.
    wait::until("the map to have no keys", SETTLE, || Ok(host.scene.third.keys()?.is_empty().then_some(())))?;
    let socket = "/run/other.sock";
    host.serve_other(host::OTHER, socket)?;
    let run = Tool::at(Path::new(socket), &["validate", &map, "--json"])?;
    let said: Value = serde_json::from_str(&run.output).with_context(|| format!("no JSON: {run:?}"))?;
    ensure!(run.code == Some(36), "{run:?}");
    let sequences = said["sequences"].as_array().context("sequences")?;
    let failed = sequences.iter().find(|sequence| sequence["result"] == "failed").context("nothing fails")?;
    ensure!(failed["name"] == "ports-and-paths", "{failed}");
    let step = failed["steps"].as_array().and_then(|steps| steps.last()).context("a step")?;
    let word = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let [name, expected, came] = ["name", "expected", "came"].map(word);
    let path = expected.strip_suffix(": GOOD").with_context(|| step.to_string())?;
    let names: Vec<String> = host.scene.paths.iter().map(|port| format!("/dev/{}", port.name())).collect();
    ensure!(names.iter().any(|name| name == path), "{step}");
    ensure!(name == "has its key on a path" && came == format!("{path}: RESERVATION CONFLICT"), "{step}");
    Ok(())
}

/// What the manual has doctor say, and whether it was heard.
struct Manual(Vec<(Run, bool)>);

impl Manual {
    fn read() -> Result<Self> {
        let steps = page::steps(PAGE).map_err(Error::msg)?.into_iter();
        let runs = steps.filter_map(|step| match step {
            Step::Run(run) if run.place == Place::Doctor => Some((run, false)),
            _ => None,
        });
        Ok(Self(runs.collect()))
    }

    /// Insists that a reader finds this.
    fn hears(&mut self, disks: &[String], text: &str) -> Result<()> {
        let command = ["qemu-pr-ctl doctor"].into_iter().chain(disks.iter().map(String::as_str));
        let command = command.collect::<Vec<_>>().join(" ");
        let mut heard = false;
        for (run, is_heard) in &mut self.0 {
            if run.command == command && run.objection(text).is_none() {
                *is_heard = true;
                heard = true;
            }
        }
        ensure!(heard, "the manual does not have what doctor says");
        Ok(())
    }

    fn all_heard(&self) -> Result<()> {
        let never: Vec<String> =
            self.0.iter().filter(|(_, heard)| !heard).map(|(run, _)| format!("line {}", run.line)).collect();
        ensure!(never.is_empty(), "troubleshooting.md, {}", never.join(", "));
        Ok(())
    }
}
