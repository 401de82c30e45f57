//! Two guests of libvirt's: one with a helper of its own, one at the socket; then both at the socket.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::InAction;

use super::command::{sh, try_sh};
use super::domain::{self, Domain, Reservations};
use super::package::{self, Originals};
use super::process::{self, NAME};
use super::{SERVICE, SOCKET_UNIT, apparmor, restart};
use crate::fence;
use crate::node::Node;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::wait;

/// The keys of the two.
pub const ALPHA: u64 = 0xa1fa;
pub const BETA: u64 = 0xbe7a;

/// libvirt starts and ends processes in an emulated machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both, and the disks that they have.
pub struct Guests<'a> {
    pub alpha: Domain,
    pub beta: Domain,
    pub disks: &'a [Node; 2],
}

/// Tells the whole story. The package, if it is the one that is tried, is a release older in the beginning.
pub fn run(report: &mut Report, disks: &[Node; 2], originals: &Originals, reference: bool) -> Result<()> {
    domain::prepare()?;
    if !reference {
        package::was_installed_earlier()?;
    }
    sh(&format!("systemctl start {SOCKET_UNIT}"))?;
    let start = Instant::now();
    let alpha = Domain::start("alpha", &disks[0], Reservations::Managed)?;
    let beta = Domain::start("beta", &disks[1], Reservations::Unmanaged)?;
    let mut guests = Guests { alpha, beta, disks };
    guests.alpha.wake()?;
    guests.beta.wake()?;
    remark(&format!("both guests are up after {} s", start.elapsed().as_secs()));

    report.check("libvirt starts a helper for the guest with managed reservations", || {
        let helpers = process::of_domain("alpha")?;
        let helper = helpers.first().context("there is none")?;
        ensure!(helper.name == NAME, "its name is {}", helper.name);
        ensure!(process::of_domain("beta")?.is_empty(), "and one for the guest with none");
        Ok(())
    });
    report.check("that guest registers and reserves, and the other is fenced", || {
        guests.alpha.out(&format!("--register --param-sark={ALPHA:#x}"))?;
        guests.alpha.out(&format!("--reserve --param-rk={ALPHA:#x} --prout-type=5"))?;
        guests.expect_keys(&[ALPHA])?;
        let reservation = guests.alpha.ask("--read-reservation")?;
        ensure!(reservation.contains(&format!("Key={ALPHA:#x}")), "the guest read {reservation}");
        fence::expect("the other's write", disks[1].write(), false)
    });
    report.check("the guest at the socket reads the same and registers, too", || {
        let keys = guests.beta.ask("--read-keys")?;
        ensure!(keys.contains(&format!("{ALPHA:#x}")), "the guest read {keys}");
        guests.beta.out(&format!("--register --param-sark={BETA:#x}"))?;
        guests.expect_keys(&[ALPHA, BETA])?;
        fence::expect("the registered guest's write", disks[1].write(), true)
    });
    if !reference {
        report.check("the package is upgraded while both guests are busy: no command is lost", || {
            guests.outlive_the_upgrade(originals)
        });
        report.check("the helper that libvirt has started is confined as libvirt does it", || {
            apparmor::managed_helper_is_as_libvirt_made_it("alpha")
        });
    }
    report.check("its helper is killed; its next commands work, through a new one", || guests.outlive_the_helper());
    report.check("without its last managed disk, the guest has no helper any more", || {
        guests.alpha.attach_anew(&disks[0], Reservations::Managed, Reservations::Unmanaged)?;
        wait_for_no_helper("alpha")
    });
    report.check("two guests at the socket preempt each other", || guests.preempt_each_other());
    restart::run(report, &mut guests, reference);
    if !reference {
        report.check("the audit log in the journal names the domains", audit_trail);
    }
    report.check("a managed helper ends with its guest", || {
        guests.alpha.attach_anew(&disks[0], Reservations::Unmanaged, Reservations::Managed)?;
        guests.alpha.ask("--read-keys")?;
        ensure!(!process::of_domain("alpha")?.is_empty(), "there is no helper");
        guests.alpha.destroy()?;
        wait_for_no_helper("alpha")
    });
    guests.beta.destroy()
}

/// None of its processes is left.
fn wait_for_no_helper(domain: &str) -> Result<()> {
    wait::until("the helper's end", PATIENCE, || Ok(process::of_domain(domain)?.is_empty().then_some(())))
}

impl Guests<'_> {
    /// Insists on the keys, in any order.
    pub fn expect_keys(&self, due: &[u64]) -> Result<()> {
        let mut keys = self.disks[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
        keys.sort_unstable();
        ensure!(keys == due, "the keys are {keys:x?}, not {due:x?}");
        Ok(())
    }

    /// What Red Hat's tests of libvirt do.
    fn outlive_the_helper(&mut self) -> Result<()> {
        let before = process::of_domain("alpha")?.first().context("there is no helper")?.pid;
        sh(&format!("killall {NAME}"))?;
        wait::until("the helper's end", PATIENCE, || {
            Ok(process::of_domain("alpha")?.iter().all(|process| process.pid != before).then_some(()))
        })?;
        // QEMU waits five seconds for libvirt, which needs longer where everything is emulated.
        let keys =
            wait::until("a helper for the guest's next command", PATIENCE, || Ok(self.alpha.ask("--read-keys").ok()))?;
        ensure!(keys.contains(&format!("{ALPHA:#x}")), "the guest read {keys}");
        self.alpha.out(&format!("--release --param-rk={ALPHA:#x} --prout-type=5"))?;
        self.alpha.out(&format!("--reserve --param-rk={ALPHA:#x} --prout-type=5"))?;
        let after = process::of_domain("alpha")?;
        let helper = after.first().context("there is no helper")?;
        ensure!(helper.pid != before, "the helpers are {after:?}");
        ensure!(package::runs_what_is_installed(helper.pid)?, "the new helper is an old program");
        Ok(())
    }

    /// The service is the new one, and the helper of libvirt's guest the same as before.
    fn outlive_the_upgrade(&mut self, originals: &Originals) -> Result<()> {
        let before = process::of_domain("alpha")?;
        let helper = before.first().context("there is no helper")?.pid;
        restart::while_busy(self, 1, || package::upgrade(originals))?;
        let after = process::of_domain("alpha")?;
        ensure!(after == before, "the helpers were {before:?} and are {after:?}");
        ensure!(!package::runs_what_is_installed(helper)?, "the helper's program was not replaced");
        self.expect_keys(&[ALPHA, BETA])
    }

    fn preempt_each_other(&mut self) -> Result<()> {
        let helpers: Vec<_> = process::all()?.into_iter().filter(|process| process.name == NAME).collect();
        ensure!(helpers.len() == 1, "there is to be the one of {SERVICE}, and there are {helpers:?}");
        for (one, key, other) in [(&mut self.alpha, ALPHA, BETA), (&mut self.beta, BETA, ALPHA)] {
            one.out(&format!("--register-ignore --param-sark={key:#x}"))?;
            one.out(&format!("--preempt --param-rk={key:#x} --param-sark={other:#x} --prout-type=5"))?;
            let keys = one.ask("--read-keys")?;
            ensure!(!keys.contains(&format!("{other:#x}")), "the guest read {keys}");
            for disk in self.disks {
                disk.settle()?;
            }
        }
        self.expect_keys(&[BETA])?;
        fence::expect("alpha's write", self.disks[0].write(), false)
    }
}

/// Who did what, for somebody who comes later.
fn audit_trail() -> Result<()> {
    for (domain, key) in [("alpha", ALPHA), ("beta", BETA)] {
        let fields = format!("QEMU_PR_VM={domain} QEMU_PR_ACTION=PREEMPT QEMU_PR_KEY={key:#x} QEMU_PR_RESULT=GOOD");
        let found = sh(&format!("journalctl --unit {SERVICE} --output cat --no-pager {fields}"))?;
        let all = || {
            try_sh(&format!("journalctl --unit {SERVICE} --output cat --no-pager"))
                .map_or_else(|error| error.to_string(), |(_, text)| text)
        };
        ensure!(
            found.contains("PREEMPT") && found.contains(&format!("VM {domain},")),
            "no record of {fields}, but {}",
            all()
        );
    }
    Ok(())
}
