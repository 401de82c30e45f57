//! The driver program of a bed: runs as the only task of a virtual machine and reports to its serial line.
//!
//! `bed-inside kernel|libiscsi|guest|migration|cluster|multipath|multipath-random|multipath-guest|doctor|kubevirt|host|manual|selinux ours|reference [full] [PART]`:
//! which scenarios to run, whose helper lies in /usr/bin, whether what is repeated is repeated as often as a release has to
//! pass, and as whom the helper runs where that makes two machines of one bed; for `multipath-random` with more words, see
//! `adversary/mod.rs`. `bed-inside bench …` and `bench-multipath …` measure instead of trying, see `bench.rs`
//! and `bench/multipath.rs`. The format of the report is
//! described where it is read, in `src/vm.rs`.
#![forbid(unsafe_code)]

mod adversary;
mod bench;
mod cluster;
mod conformance;
mod ctl;
mod doctor;
mod fence;
mod guest;
mod guest_machine;
mod hang;
mod helper;
mod host;
mod iscsi;
mod kubevirt;
mod libiscsi;
mod lun;
mod manual;
mod migration;
mod monitor;
mod multipath;
mod node;
mod parity;
mod parts;
mod random;
mod report;
mod request;
mod rights;
mod scenario;
mod selinux;
mod sg_io;
mod tool;
mod trail;
mod wait;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

use report::Report;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["act", act] = *words {
        return selinux::act(act);
    }
    let mut report = Report::default();
    if let Err(error) = run(&words, &mut report) {
        report.fail("the scenarios", &error);
    }
    report.end();
    ExitCode::SUCCESS
}

fn run(words: &[&str], report: &mut Report) -> Result<()> {
    if let ["bench", words @ ..] = words {
        return bench::run(report, words);
    }
    if let ["bench-multipath", words @ ..] = words {
        return bench::multipath::run(report, words);
    }
    let [bed, whose, ref more @ ..] = *words else {
        bail!(
            "usage: bed-inside kernel|libiscsi|guest|migration|cluster|multipath|multipath-random|multipath-guest|doctor|kubevirt|host|manual|selinux ours|reference \
             [full] [PART]"
        )
    };
    let (is_full, part) = match more {
        ["full", part @ ..] => (true, part),
        part => (false, part),
    };
    let reference = match whose {
        "ours" => false,
        "reference" => true,
        other => bail!("{other} is nobody's helper"),
    };
    match bed {
        "kernel" => {
            // One LUN for each way of reaching it, so that both start from the same state.
            let luns = lun::Loopback::set_up(2)?;
            parity::run(report, &luns, reference)?;
            fence::run(report, luns.lun(0))?;
            rights::run(report, luns.lun(0), reference)?;
            parts::run(report, reference)?;
            iscsi::run(report)?;
            ctl::run(report, luns.lun(0), reference)?;
            if !reference {
                kubevirt::run(report, &luns.lun(0)[0])?;
            }
            hang::run(report, &luns, reference)
        }
        "libiscsi" => libiscsi::run(report, reference),
        "migration" => migration::run(report, reference, part),
        "guest" => guest::run(report, reference),
        "cluster" => cluster::run(report, reference),
        "multipath" => multipath::run(report, reference, is_full, part),
        "multipath-random" => adversary::run(report, reference, more),
        "multipath-guest" => multipath::guest::run(report, reference, is_full),
        "doctor" => doctor::run(report, reference),
        "kubevirt" => kubevirt::pod::run(report),
        "host" => host::run(report, reference),
        "manual" => manual::run(report),
        "selinux" => selinux::run(report),
        other => bail!("there is no bed {other}"),
    }
}
