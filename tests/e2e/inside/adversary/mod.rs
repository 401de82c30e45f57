//! The adversary: random commands through a helper to a map of four paths, while another node acts, paths fail and come
//! back, and processes are killed. After every answer the LUN is asked, and what was told and what is there are held
//! against one disk with one initiator.

mod array;
mod calibrate;
mod cases;
mod chance;
mod disk;
mod family;
mod faults;
mod host;
mod judge;
mod map;
mod meddle;
mod record;
mod run;

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::lun;
use crate::report::{Report, known_weakness, remark};
use faults::Trouble;
use judge::Rule;
use run::Run;

/// What a run consists of.
pub struct Settings {
    pub rounds: u64,
    /// That of the first round.
    pub seed: u64,
    pub troubles: Vec<Trouble>,
}

/// Runs it. Of the C helper, broken promises are counted and nothing more.
pub fn run(report: &mut Report, reference: bool, words: &[&str]) -> Result<()> {
    let [rounds, seed, words @ ..] = words else { bail!("how many rounds, and from which seed?") };
    let troubles = words
        .iter()
        .filter(|word| **word != "cases")
        .map(|word| Trouble::by(word).with_context(|| format!("{word} is no trouble")));
    let troubles = troubles.collect::<Result<_>>()?;
    let settings = Settings { rounds: rounds.parse()?, seed: seed.parse()?, troubles };
    remark(&format!("round {seed}"));
    lun::mount_configfs()?;
    let mut run = Run::set_up(&settings)?;
    report.check("the bed: what one disk does is known", || calibrate::run(settings.seed));
    run.record.watch();
    if words.contains(&"cases") {
        run.cases(|name, result| {
            let name = format!("case: {name}");
            if reference { report.show(&name, || result) } else { report.check(&name, || result) }
        })?;
    }
    let started = Instant::now();
    run.all()?;
    let commands = run.commands;
    let took = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = commands as f64 / took;
    remark(&format!("{commands} commands in {took:.1} s: {rate:.0} a second"));
    if reference {
        let all: usize = Rule::ALL.iter().map(|rule| run.record.of(*rule)).sum();
        report.check("the bed finds what the C helper does wrong", || {
            ensure!(all > 0, "every promise was kept");
            Ok(())
        });
    }
    for rule in Rule::ALL {
        let broken = run.record.of(rule);
        let name = format!("rule {}: {}", rule as u8, rule.promise());
        if reference && broken > 0 {
            known_weakness(&name, &format!("broken {broken} times"));
        } else {
            report.check(&name, || {
                ensure!(broken == 0, "broken {broken} times");
                Ok(())
            });
        }
    }
    Ok(())
}
