//! The service is restarted while guests use it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::SERVICE;
use super::busy::Busy;
use super::command::sh;
use super::domain::Domain;
use super::guests::{ALPHA, BETA, Guests};
use crate::report::{Report, remark};
use crate::wait;

/// How often it is restarted.
const RESTARTS: usize = 4;

/// How many clients are faster than guests. Each connects anew after a restart.
const CLIENTS: usize = 2;

/// A guest's command takes seconds where everything is emulated.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both guests send one command after the other, to the end of all restarts, and so do clients that are faster.
pub fn run(report: &mut Report, guests: &mut Guests<'_>, reference: bool) {
    let name = format!("{RESTARTS} restarts of the service, and no command of two busy guests is lost");
    let check = || restart(guests);
    if reference {
        report.show(&name, check);
    } else {
        report.check(&name, check);
    }
}

/// Does something several times while both guests send one command after the other, none of which may fail.
pub fn while_busy(guests: &mut Guests<'_>, times: usize, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    start(&mut guests.alpha, ALPHA)?;
    start(&mut guests.beta, BETA)?;
    for _ in 0..times {
        let before = (count(&mut guests.alpha)?.0, count(&mut guests.beta)?.0);
        act()?;
        wait::until("each guest's next command", PATIENCE, || {
            let after = (count(&mut guests.alpha)?.0, count(&mut guests.beta)?.0);
            Ok((after.0 > before.0 && after.1 > before.1).then_some(()))
        })?;
    }
    for guest in [&mut guests.alpha, &mut guests.beta] {
        guest.runs("touch /stop; wait; rm /stop")?;
        let (sent, failed) = count(guest)?;
        remark(&format!("a guest: {sent} commands, {failed} failed"));
        ensure!(sent > 0, "a guest sent nothing");
        ensure!(failed == 0, "{failed} of {sent} commands failed: {}", guest.runs("cat /failed")?);
    }
    Ok(())
}

fn restart(guests: &mut Guests<'_>) -> Result<()> {
    while_busy(guests, RESTARTS, || sh(&format!("systemctl restart {SERVICE}")).map(drop))?;
    let busy = Busy::start(CLIENTS as u64, &guests.disks[0])?;
    for _ in 0..RESTARTS {
        sh(&format!("systemctl restart {SERVICE}"))?;
    }
    let tally = busy.end()?;
    remark(&format!("clients like QEMU: {tally}"));
    ensure!(tally.unreachable == 0 && tally.unanswered == 0, "busy clients: {tally}");
    // Who was between a CDB and its parameter list in that very moment is lost (decision 028).
    ensure!(tally.anew <= CLIENTS * RESTARTS && tally.halved <= tally.anew, "busy clients: {tally}");
    Ok(())
}

/// Keeps a guest busy in the background: reading keys and registering its own in turn.
fn start(guest: &mut Domain, key: u64) -> Result<()> {
    let persist = "sg_persist --no-inquiry";
    let disk = "$(ls -d /dev/sd?)";
    guest.runs(&format!("{persist} --out --register-ignore --param-sark={key:#x} {disk}; echo 0 0 >/count"))?;
    guest.runs(&format!(
        "(n=0; f=0; \
          try() {{ {persist} \"$@\" {disk} >/log 2>&1 || {{ f=$((f+1)); cp /log /failed; }}; \
                   n=$((n+1)); echo $n $f >/new; mv /new /count; }}; \
          until test -e /stop; do try --in --read-keys; try --out --register-ignore --param-sark={key:#x}; done) &"
    ))?;
    Ok(())
}

/// How many commands a guest has sent, and how many of them failed.
fn count(guest: &mut Domain) -> Result<(usize, usize)> {
    let counts = guest.runs("cat /count")?;
    let (sent, failed) = counts.split_once(' ').with_context(|| format!("{counts:?} is not two numbers"))?;
    Ok((sent.parse()?, failed.parse()?))
}
