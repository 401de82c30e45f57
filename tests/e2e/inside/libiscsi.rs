//! libiscsi's own tests of persistent reservations (`iscsi-test-cu`, as Debian has it) on one LUN by two initiators: once
//! as the LUN itself answers, and once through the helper. `libiscsi/initiators.c` gives it both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::helper::Helper;
use crate::lun::Loopback;
use crate::node::Node;
use crate::report::{Report, remark};

const PROGRAM: &str = "/usr/bin/iscsi-test-cu";
const INITIATORS: &str = "/usr/lib/initiators.so";

/// The suites with persistent reservations in them, and how many tests they have.
const SUITES: [&str; 2] = ["SCSI.Prin*", "SCSI.Prout*"];
const TESTS: usize = 20;

/// How each test ended, by suite and name.
type Verdicts = BTreeMap<String, bool>;

pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    let luns = Loopback::set_up(1)?;
    let nodes = luns.lun(0);
    let mut alone = Verdicts::new();
    report.check("libiscsi's tests hold on the LUN itself", || {
        alone = all(nodes, None)?;
        expect_all_passed(&alone)
    });
    let helper = Helper::start("libiscsi", if reference { &[] } else { &["--audit", "off"] })?;
    let mut through = Verdicts::new();
    report.check("libiscsi's tests are run through the helper", || {
        through = all(nodes, Some(helper.socket()))?;
        Ok(())
    });
    for (name, passed) in &through {
        report.check(&format!("libiscsi {name} through the helper"), || {
            ensure!(*passed, "it fails");
            Ok(())
        });
    }
    report.check("none of libiscsi's tests ends otherwise through the helper", || {
        ensure!(alone == through, "on the LUN {alone:?}, through the helper {through:?}");
        expect_all_passed(&through)
    });
    helper.stop()
}

fn expect_all_passed(verdicts: &Verdicts) -> Result<()> {
    let failed: Vec<&str> = verdicts.iter().filter(|(_, passed)| !**passed).map(|(name, _)| &**name).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    ensure!(verdicts.len() == TESTS, "{TESTS} tests were due, {} were run", verdicts.len());
    Ok(())
}

fn all(nodes: &[Node; 2], helper: Option<&Path>) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    for suite in SUITES {
        let mut command = Command::new(PROGRAM);
        command.args(["--dataloss", &format!("--test={suite}"), "iscsi://127.0.0.1/none/0"]);
        command.env("LD_PRELOAD", INITIATORS);
        command.env("INITIATOR_1", nodes[0].path()).env("INITIATOR_2", nodes[1].path());
        if let Some(helper) = helper {
            command.env("PR_HELPER_SOCKET", helper);
        }
        let output = command.output().with_context(|| format!("{PROGRAM} cannot be started"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let heard = verdicts_of(&text).with_context(|| format!("{text}{complaint}"))?;
        ensure!(!heard.is_empty(), "no test was run ({}): {text}{complaint}", output.status);
        for line in text.lines().filter(|line| line.contains("asserts")) {
            remark(&format!("{suite}: {}", line.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        if heard.values().any(|passed| !passed) {
            remark(&text);
        }
        verdicts.extend(heard);
    }
    Ok(verdicts)
}

/// Reads `CUnit`'s report. A test that says that it is skipped counts as passed there, and is an error here: but for the
/// question which commands there are, which these disks do not answer.
fn verdicts_of(text: &str) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    let (mut suite, mut running) = ("", None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Suite: ") {
            suite = name;
        }
        if let Some((name, _)) = line.strip_prefix("Test: ").and_then(|test| test.split_once(" ...")) {
            verdicts.insert(format!("{suite}.{name}"), false);
            running = Some(name);
        }
        // What the test itself has to say may come in between.
        if line.ends_with("passed")
            && let Some(name) = running.take()
        {
            verdicts.insert(format!("{suite}.{name}"), true);
        }
        if let Some((_, why)) = line.split_once("[SKIPPED]") {
            ensure!(why.contains("REPORT_SUPPORTED_OPCODES"), "a test is skipped: {line}");
        }
    }
    Ok(verdicts)
}
