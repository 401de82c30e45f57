//! The service is restarted while guests use it.

use anyhow::{Context as _, Result, ensure};

use super::SERVICE;
use super::busy::Busy;
use super::command::sh;
use super::guests::{ALPHA, BETA, Guests};
use crate::report::{Report, remark};

/// How often it is restarted.
const RESTARTS: usize = 5;

/// Both guests send commands as fast as they can, to the end of all restarts.
pub fn run(report: &mut Report, guests: &mut Guests<'_>, reference: bool) -> Result<()> {
    let name = format!("{RESTARTS} restarts of the service, and no command of two busy guests is lost");
    let check = || restart(guests);
    if reference {
        report.show(&name, check);
    } else {
        report.check(&name, check);
    }
    Ok(())
}

fn restart(guests: &mut Guests<'_>) -> Result<()> {
    for (guest, key) in [(&mut guests.alpha, ALPHA), (&mut guests.beta, BETA)] {
        let persist = "sg_persist --no-inquiry";
        let disk = "$(ls -d /dev/sd?)";
        guest.runs(&format!("{persist} --out --register-ignore --param-sark={key:#x} {disk}"))?;
        guest.runs(&format!(
            "(n=0; f=0; until test -e /stop; do \
                {persist} --in --read-keys {disk} >/log 2>&1 || {{ f=$((f+1)); cp /log /failed; }}; \
                {persist} --out --register-ignore --param-sark={key:#x} {disk} >/log 2>&1 \
                    || {{ f=$((f+1)); cp /log /failed; }}; \
                n=$((n+2)); \
             done; echo $n $f >/count) &"
        ))?;
    }
    let busy = Busy::start(2, &guests.disks[0])?;
    for _ in 0..RESTARTS {
        sh(&format!("systemctl restart {SERVICE}"))?;
    }
    let tally = busy.end()?;
    remark(&tally.to_string());
    for guest in [&mut guests.alpha, &mut guests.beta] {
        guest.runs("touch /stop; wait; rm /stop")?;
        let count = guest.runs("cat /count")?;
        let (sent, failed) = count.split_once(' ').context("two numbers")?;
        remark(&format!("{sent} commands, {failed} failed"));
        ensure!(sent.parse::<usize>()? >= 4, "only {sent} commands were sent");
        if failed != "0" {
            let what = guest.runs("cat /failed")?;
            anyhow::bail!("{failed} of {sent} commands failed: {what}");
        }
    }
    Ok(())
}
