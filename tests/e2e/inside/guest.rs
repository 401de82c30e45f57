//! The guest bed: two hosts share a LUN; one of them is a QEMU guest whose reservations go through the helper.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::{InAction, ReservationType};

use crate::fence;
use crate::guest_machine::{GUEST_NAME, Guest};
use crate::helper::Helper;
use crate::lun::Loopback;
use crate::node::Node;
use crate::report::{Report, screen, story};
use crate::request::{Answer, Request};
use crate::trail::{Sent, Trail};

/// The key of host A, the guest.
const GUEST: u64 = 0x6001;
/// The key of host B, the machine around it.
const HOST: u64 = 0xb002;

const DISK: &str = "/dev/sda";

/// Where the helper tells of itself.
const CONTROL: &str = "/run/guest.control";

/// What `sg_persist` exits with after a unit attention (`SG_LIB_CAT_UNIT_ATTENTION`).
const UNIT_ATTENTION: i32 = 6;
/// What `sg_persist` exits with after a reservation conflict (`SG_LIB_CAT_RES_CONFLICT`).
const RESERVATION_CONFLICT: i32 = 24;

/// Tells the whole story, checking every step.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    let luns = Loopback::set_up(1)?;
    let [passed_through, around] = luns.lun(0);
    // The C helper keeps no trail.
    let options: &[&str] = if reference { &[] } else { &["--control", CONTROL] };
    let helper = Helper::start("guest", options)?;
    let trail = if reference { None } else { Some(Trail::follow(Path::new(CONTROL))?) };
    story("One disk, two hosts. Host A is a QEMU guest; it reaches the disk through QEMU and the helper.");
    story("Host B is the machine around it and reaches the same disk by a path of its own.");
    story("Host A is booting ...");
    let guest = Guest::boot(passed_through, helper.socket())?;
    let mut stage = Stage { guest, host: around, sent: Vec::new() };

    stage.nobody_is_registered(report);
    stage.guest_reserves(report);
    stage.guest_preempts_host(report);
    stage.host_preempts_guest(report);
    stage.guest_clears(report);

    let Stage { guest, sent, .. } = stage;
    drop(guest);
    story("");
    story("Host A is switched off, and the helper is told to end.");
    report.check("the helper ends on SIGTERM after its guest is gone", || helper.stop());
    if let Some(trail) = trail {
        let name =
            format!("the trail names guest, disk and keys of the guest's {} commands, and has no other", sent.len());
        report.check(&name, || trail.expect(GUEST_NAME, passed_through.path(), &sent));
    }
    Ok(())
}

/// The two hosts.
struct Stage<'a> {
    guest: Guest,
    host: &'a Node,
    /// The changes that the guest asked for.
    sent: Vec<Sent>,
}

impl Stage<'_> {
    fn nobody_is_registered(&mut self, report: &mut Report) {
        story("");
        story("At first nobody is registered, and both may write.");
        report.check("the guest finds its disk and no key on it", || {
            let keys = self.guest_asks("--read-keys")?;
            ensure!(keys.contains("there are NO registered reservation keys"), "the guest read {keys}");
            Ok(())
        });
        report.check("the guest learns what the disk can do", || {
            let capabilities = self.guest_asks("--report-capabilities")?;
            ensure!(capabilities.contains("Write Exclusive, registrants only: 1"), "the guest read {capabilities}");
            Ok(())
        });
        report.check("both hosts write", || {
            self.guest_writes(true)?;
            self.host_writes(true)
        });
    }

    fn guest_reserves(&mut self, report: &mut Report) {
        story("");
        story(&format!("Host A registers the key {GUEST:#x} and reserves the disk: only the holder may write."));
        report.check("the guest registers", || {
            self.guest_does(&format!("--register --param-sark={GUEST:#x}"))?;
            self.expect_keys(&[GUEST])
        });
        report.check("the guest reserves, and the host sees who holds the disk", || {
            self.guest_does(&format!("--reserve --param-rk={GUEST:#x} --prout-type=1"))?;
            self.expect_holder(GUEST, ReservationType::WriteExclusive)
        });
        report.check("the guest sees its own key and reservation", || {
            let keys = self.guest_asks("--read-keys")?;
            ensure!(keys.contains(&format!("{GUEST:#x}")), "the guest read {keys}");
            let reservation = self.guest_asks("--read-reservation")?;
            ensure!(reservation.contains(&format!("Key={GUEST:#x}")), "the guest read {reservation}");
            ensure!(reservation.contains("type: Write Exclusive"), "the guest read {reservation}");
            Ok(())
        });
        story("Host B tries to write. The disk refuses: host B is fenced.");
        report.check("the host's write is refused", || self.host_writes(false));
        report.check("the holder's write is not", || self.guest_writes(true));
    }

    fn guest_preempts_host(&mut self, report: &mut Report) {
        story("");
        story(&format!("Host B registers {HOST:#x} and tries to reserve, too. Host A has it: conflict."));
        report.check("the host registers, and the guest sees both keys", || {
            self.host_does(&Request::register(0, HOST))?.good()?;
            let keys = self.guest_asks("--read-keys")?;
            ensure!(keys.contains(&format!("{GUEST:#x}")), "the guest read {keys}");
            ensure!(keys.contains(&format!("{HOST:#x}")), "the guest read {keys}");
            Ok(())
        });
        report.check("the host's reservation conflicts", || {
            self.host_does(&Request::reserve(HOST, ReservationType::WriteExclusive))?.conflict()
        });
        story("Host A changes to a reservation for all who are registered: now both write, as a cluster does.");
        report.check("the guest reserves for registrants, and the host writes", || {
            self.guest_does(&format!("--release --param-rk={GUEST:#x} --prout-type=1"))?;
            self.guest_does(&format!("--reserve --param-rk={GUEST:#x} --prout-type=5"))?;
            self.expect_holder(GUEST, ReservationType::WriteExclusiveRegistrantsOnly)?;
            self.host_writes(true)
        });
        story("Host B is thought dead. Host A preempts its key, and host B can write no more.");
        report.check("the guest preempts the host's key", || {
            self.guest_does(&format!("--preempt --param-rk={GUEST:#x} --param-sark={HOST:#x} --prout-type=5"))?;
            // The next command only learns of it, by a unit attention.
            self.host.settle()?;
            self.expect_keys(&[GUEST])
        });
        report.check("the preempted host's write is refused", || self.host_writes(false));
    }

    fn host_preempts_guest(&mut self, report: &mut Report) {
        story("");
        story("Host B comes back, registers anew and takes the disk over: now host A is fenced.");
        report.check("the host preempts the guest and holds the disk", || {
            self.host_does(&Request::register(0, HOST))?.good()?;
            self.host_does(&Request::preempt(HOST, GUEST, ReservationType::WriteExclusive))?.good()?;
            self.expect_keys(&[HOST])?;
            self.expect_holder(HOST, ReservationType::WriteExclusive)
        });
        report.check("the guest is told, then sees the host's key alone", || {
            // QEMU or the guest's kernel may have met the unit attention before sg_persist does.
            let (status, printed) = self.guest_runs(&persist("--in --read-keys"))?;
            ensure!(status == UNIT_ATTENTION || status == 0, "exit status {status}: {printed}");
            let keys = self.guest_asks("--read-keys")?;
            ensure!(keys.contains(&format!("{HOST:#x}")), "the guest read {keys}");
            ensure!(!keys.contains(&format!("{GUEST:#x}")), "the guest read {keys}");
            Ok(())
        });
        report.check("the guest's write is refused", || self.guest_writes(false));
        report.check("the guest's reservation conflicts, and sg_persist says so", || {
            self.guest_does(&format!("--register --param-sark={GUEST:#x}"))?;
            let reserve = format!("--reserve --param-rk={GUEST:#x} --prout-type=1");
            let (status, printed) = self.guest_changes(&reserve)?;
            ensure!(status == RESERVATION_CONFLICT, "expected {RESERVATION_CONFLICT}, came {status}: {printed}");
            Ok(())
        });
    }

    fn guest_clears(&mut self, report: &mut Report) {
        story("");
        story("Host A clears the disk of all registrations, and both may write again.");
        report.check("the guest clears the disk, and both write again", || {
            self.guest_does(&format!("--clear --param-rk={GUEST:#x}"))?;
            self.host.settle()?;
            self.expect_keys(&[])?;
            self.guest_writes(true)?;
            self.host_writes(true)
        });
    }

    /// Runs a command in the guest and shows it.
    fn guest_runs(&mut self, command: &str) -> Result<(i32, String)> {
        screen('A', &format!("# {command}"));
        let (status, printed) = self.guest.run(command)?;
        for line in printed.lines().filter(|line| !line.is_empty()) {
            screen('A', line);
        }
        Ok((status, printed))
    }

    fn guest_asks(&mut self, question: &str) -> Result<String> {
        let (status, printed) = self.guest_runs(&persist(&format!("--in {question}")))?;
        ensure!(status == 0, "{question} in the guest: exit status {status}: {printed}");
        Ok(printed)
    }

    fn guest_does(&mut self, change: &str) -> Result<()> {
        let (status, printed) = self.guest_changes(change)?;
        ensure!(status == 0, "{change} in the guest: exit status {status}: {printed}");
        Ok(())
    }

    /// Has the guest change something, and remembers it for the comparison with the trail.
    fn guest_changes(&mut self, change: &str) -> Result<(i32, String)> {
        let (status, printed) = self.guest_runs(&persist(&format!("--out {change}")))?;
        self.sent.push(sent(change, status)?);
        Ok((status, printed))
    }

    fn guest_writes(&mut self, passes: bool) -> Result<()> {
        let write = format!("dd if=/dev/zero of={DISK} bs=4096 count=1 oflag=direct status=none");
        let (status, printed) = self.guest_runs(&write)?;
        screen('A', if status == 0 { "(written)" } else { "(refused)" });
        ensure!((status == 0) == passes, "the guest's write ended with {status}: {printed}");
        Ok(())
    }

    fn host_does(&self, request: &Request) -> Result<Answer> {
        let answer = self.host.directly(request)?;
        screen('B', &format!("{} -> {answer}", request.name));
        Ok(answer)
    }

    fn host_writes(&self, passes: bool) -> Result<()> {
        let result = self.host.write();
        match &result {
            Ok(()) => screen('B', "write a block -> written"),
            Err(error) => screen('B', &format!("write a block -> refused: {error}")),
        }
        fence::expect("the host's write", result, passes)
    }

    fn expect_keys(&self, expected: &[u64]) -> Result<()> {
        let keys = self.host.directly(&Request::read(InAction::ReadKeys))?.keys()?;
        let shown: Vec<String> = keys.iter().map(|key| format!("{key:#x}")).collect();
        screen(
            'B',
            &format!(
                "{} -> {}",
                InAction::ReadKeys,
                if keys.is_empty() { "none".to_owned() } else { shown.join(", ") }
            ),
        );
        ensure!(keys == expected, "expected the keys {expected:#x?}, the host read {keys:#x?}");
        Ok(())
    }

    fn expect_holder(&self, key: u64, kind: ReservationType) -> Result<()> {
        let answer = self.host.directly(&Request::read(InAction::ReadReservation))?;
        let reservation = answer.reservation()?;
        let seen = reservation.map(|reservation| (reservation.key.0, reservation.reservation_type()));
        ensure!(seen == Some((key, Some(kind))), "expected {key:#x} with {kind}, the host read {reservation:?}");
        screen('B', &format!("{} -> held by {key:#x}: {kind}", InAction::ReadReservation));
        Ok(())
    }
}

fn persist(arguments: &str) -> String {
    format!("sg_persist --no-inquiry {arguments} {DISK}")
}

/// A change as the helper must have seen it, out of `sg_persist`'s arguments and its exit status.
fn sent(change: &str, status: i32) -> Result<Sent> {
    let value = |name: &str| {
        let found = change.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix("=0x"));
        found.map(|digits| u64::from_str_radix(digits, 16)).transpose()
    };
    let (key, service_action_key) = (value("--param-rk")?, value("--param-sark")?);
    let action = match change.split(' ').next().context("no change")? {
        "--register" => "REGISTER",
        "--reserve" => "RESERVE",
        "--release" => "RELEASE",
        "--clear" => "CLEAR",
        "--preempt" => "PREEMPT",
        other => bail!("{other} is no change that this bed makes"),
    };
    // REGISTER looks at both keys, and sg_persist sends zero for one that is not given.
    let key = key.or((action == "REGISTER").then_some(0));
    let status = match status {
        0 => "GOOD",
        RESERVATION_CONFLICT => "RESERVATION CONFLICT",
        other => bail!("{change} ended with {other}"),
    };
    Ok(Sent { action, key, service_action_key, status })
}
