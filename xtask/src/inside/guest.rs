//! The guest bed: two hosts share a LUN; one of them is a QEMU guest whose reservations go through the helper.

use anyhow::{Context as _, Result, ensure};
use scsi_pr::{InAction, ReservationType};

use crate::guest_machine::Guest;
use crate::helper::Helper;
use crate::lun::Loopback;
use crate::node::Node;
use crate::report::{Report, story};
use crate::request::Request;

/// The keys of the two hosts, as numbers and as `sg_persist` takes them.
const GUEST: u64 = 0x6001;
const HOST: u64 = 0xb002;

const DISK: &str = "/dev/sda";

/// Tells the whole story, checking every step.
pub fn run(report: &mut Report) -> Result<()> {
    let luns = Loopback::set_up(1)?;
    let [passed_through, host] = luns.lun(0);
    let helper = Helper::start("guest", &[])?;
    story("One disk, two hosts. Host A is a QEMU guest; it reaches the disk through QEMU and the helper.");
    story("Host B is the machine around it and reaches the same disk by a path of its own.");
    let mut guest = Guest::boot(passed_through, helper.socket())?;

    begin(report, &mut guest, host);
    guest_reserves(report, &mut guest, host);
    guest_preempts(report, &mut guest, host);
    host_takes_over(report, &mut guest, host);

    drop(guest);
    story("Host A is switched off; the helper is told to end.");
    report.check("the helper ends on SIGTERM after its guest is gone", || helper.stop());
    Ok(())
}

fn begin(report: &mut Report, guest: &mut Guest, host: &Node) {
    story("At first nobody is registered, and both may write.");
    report.check("the guest finds its disk and no key on it", || {
        let keys = guest.succeed(&persist("--in --read-keys"))?;
        ensure!(keys.contains("there are NO registered reservation keys"), "the guest read {keys}");
        Ok(())
    });
    report.check("the guest learns what the disk can do", || {
        let capabilities = guest.succeed(&persist("--in --report-capabilities"))?;
        ensure!(capabilities.contains("Write Exclusive, registrants only: 1"), "the guest read {capabilities}");
        Ok(())
    });
    report.check("both hosts write", || {
        guest.succeed(&write())?;
        host.write().context("the host's write")
    });
}

fn guest_reserves(report: &mut Report, guest: &mut Guest, host: &Node) {
    story("");
    story(&format!("Host A registers the key {GUEST:#x} and reserves the disk: Write Exclusive."));
    report.check("the guest registers", || {
        guest.succeed(&persist(&format!("--out --register --param-sark={GUEST:#x}")))?;
        expect_keys(host, &[GUEST])
    });
    report.check("the guest reserves, and the host sees who holds the disk", || {
        guest.succeed(&persist(&format!("--out --reserve --param-rk={GUEST:#x} --prout-type=1")))?;
        expect_holder(host, GUEST, ReservationType::WriteExclusive)
    });
    report.check("the guest sees its own key and reservation", || {
        let keys = guest.succeed(&persist("--in --read-keys"))?;
        ensure!(keys.contains(&format!("{GUEST:#x}")), "the guest read {keys}");
        let reservation = guest.succeed(&persist("--in --read-reservation"))?;
        ensure!(reservation.contains(&format!("Key={GUEST:#x}")), "the guest read {reservation}");
        ensure!(reservation.contains("type: Write Exclusive"), "the guest read {reservation}");
        Ok(())
    });
    story("Host B tries to write. The disk refuses: host B is fenced.");
    report.check("the host's write is refused", || refused(host));
    report.check("the holder's write is not", || guest.succeed(&write()).map(drop));
}

fn guest_preempts(report: &mut Report, guest: &mut Guest, host: &Node) {
    story("");
    story(&format!("Host B registers {HOST:#x} and tries to reserve, too. Host A has it: conflict."));
    report.check("the host registers, and the guest sees both keys", || {
        host.directly(&Request::register(0, HOST))?.good()?;
        let keys = guest.succeed(&persist("--in --read-keys"))?;
        ensure!(keys.contains(&format!("{GUEST:#x}")) && keys.contains(&format!("{HOST:#x}")), "the guest read {keys}");
        Ok(())
    });
    report.check("the host's reservation conflicts", || {
        host.directly(&Request::reserve(HOST, ReservationType::WriteExclusive))?.conflict()
    });
    report.check("the guest changes to a reservation for all that are registered, and the host writes", || {
        let released = format!("--out --release --param-rk={GUEST:#x} --prout-type=1");
        guest.succeed(&persist(&released))?;
        guest.succeed(&persist(&format!("--out --reserve --param-rk={GUEST:#x} --prout-type=5")))?;
        expect_holder(host, GUEST, ReservationType::WriteExclusiveRegistrantsOnly)?;
        host.settle()?;
        host.write().context("the host's write")
    });
    story("Host A believes host B dead, and preempts its key. Host B can write no more.");
    report.check("the guest preempts the host's key", || {
        let preempt = format!("--out --preempt --param-rk={GUEST:#x} --param-sark={HOST:#x} --prout-type=5");
        guest.succeed(&persist(&preempt))?;
        // The first command learns of it by a unit attention.
        host.settle()?;
        expect_keys(host, &[GUEST])
    });
    report.check("the preempted host's write is refused", || refused(host));
}

fn host_takes_over(report: &mut Report, guest: &mut Guest, host: &Node) {
    story("");
    story("Host B comes back, registers anew and takes the disk over: now host A is fenced.");
    report.check("the host preempts the guest and holds the disk", || {
        host.directly(&Request::register(0, HOST))?.good()?;
        host.directly(&Request::preempt(HOST, GUEST, ReservationType::WriteExclusive))?.good()?;
        expect_keys(host, &[HOST])?;
        expect_holder(host, HOST, ReservationType::WriteExclusive)
    });
    report.check("the guest is told by a unit attention, then sees the host's key alone", || {
        // sg_persist exits with 6 for a unit attention; QEMU or the guest's kernel may have met it before.
        let (status, printed) = guest.run(&persist("--in --read-keys"))?;
        ensure!(status == 6 || status == 0, "exit status {status}: {printed}");
        let keys = guest.succeed(&persist("--in --read-keys"))?;
        ensure!(
            keys.contains(&format!("{HOST:#x}")) && !keys.contains(&format!("{GUEST:#x}")),
            "the guest read {keys}"
        );
        Ok(())
    });
    report.check("the guest's write is refused", || {
        let (status, printed) = guest.run(&write())?;
        ensure!(status != 0, "the guest wrote: {printed}");
        Ok(())
    });
    report.check("the guest's reservation conflicts, and sg_persist says so", || {
        guest.succeed(&persist(&format!("--out --register --param-sark={GUEST:#x}")))?;
        let (status, printed) =
            guest.run(&persist(&format!("--out --reserve --param-rk={GUEST:#x} --prout-type=1")))?;
        // SG_LIB_CAT_RES_CONFLICT
        ensure!(status == 24, "expected exit status 24, came {status}: {printed}");
        Ok(())
    });
    report.check("the guest clears the disk, and both write again", || {
        guest.succeed(&persist(&format!("--out --clear --param-rk={GUEST:#x}")))?;
        host.settle()?;
        expect_keys(host, &[])?;
        guest.succeed(&write())?;
        host.write().context("the host's write")
    });
    story("Host A clears everything, and both may write again.");
}

fn persist(arguments: &str) -> String {
    format!("sg_persist --no-inquiry {arguments} {DISK}")
}

fn write() -> String {
    format!("dd if=/dev/zero of={DISK} bs=4096 count=1 oflag=direct status=none")
}

fn refused(host: &Node) -> Result<()> {
    match host.write() {
        Ok(()) => anyhow::bail!("expected the write to be refused, but it went through"),
        Err(error) => {
            // What Linux makes of RESERVATION CONFLICT on a write.
            ensure!(error.raw_os_error() == Some(libc::EBADE), "expected EBADE, came {error}");
            Ok(())
        }
    }
}

fn expect_keys(host: &Node, expected: &[u64]) -> Result<()> {
    let keys = host.directly(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == expected, "expected the keys {expected:#x?}, the host read {keys:#x?}");
    Ok(())
}

fn expect_holder(host: &Node, key: u64, kind: ReservationType) -> Result<()> {
    let reservation = host.directly(&Request::read(InAction::ReadReservation))?.reservation()?;
    let seen = reservation.map(|reservation| (reservation.key.0, reservation.reservation_type()));
    ensure!(seen == Some((key, Some(kind))), "expected {key:#x} with {kind}, the host read {reservation:?}");
    Ok(())
}
