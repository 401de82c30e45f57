//! What is broken, and who mends it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::Guest;
use super::host::{self, Host, KEY, KIND, OF_LIBVIRT, OTHER, OTHER_KEY, SOCKET, STUCK};
use crate::lun;
use crate::multipath::process;
use crate::multipath::scene::{MAP, SETTLE};
use crate::multipath::services;
use crate::request::Request;
use crate::tool::{PROGRAM, Run};
use crate::wait;

/// One thing that is broken.
pub struct Broken {
    /// What doctor calls it.
    pub kind: &'static str,
    pub what: &'static str,
    /// The disks that it is told to look at.
    pub disks: fn(&Host) -> Vec<String>,
    pub make: fn(&mut Host) -> Result<()>,
    pub mend: Mend,
    /// How it is told, if it may be over as soon as doctor has asked.
    pub passes: Option<&'static str>,
    /// What may be found once it is mended.
    pub then: &'static [&'static str],
}

/// Who mends it.
pub enum Mend {
    /// The command that doctor gives.
    Command,
    /// systemd, libvirt or an editor, whom the command would tell to do this.
    Service(fn(&mut Host) -> Result<()>),
}

const fn broken(kind: &'static str, what: &'static str, make: fn(&mut Host) -> Result<()>, mend: Mend) -> Broken {
    Broken { kind, what, disks: |_| Vec::new(), make, mend, passes: None, then: &[] }
}

/// Something on the disk that no guest has.
const fn on_spare(
    kind: &'static str,
    what: &'static str,
    make: fn(&mut Host) -> Result<()>,
    mend: Mend,
    then: &'static [&'static str],
) -> Broken {
    Broken { disks: |host| vec![host.spare().display().to_string()], then, ..broken(kind, what, make, mend) }
}

/// All of it.
pub const BROKEN: &[Broken] = &[
    // The helper
    broken("no-socket", "there is no helper", ends, Mend::Service(starts)),
    broken("no-listener", "QEMU's own helper was killed and has left its socket", is_killed, Mend::Service(starts)),
    broken("not-a-socket", "a file is where the socket should be", is_a_file, Mend::Service(starts_without_file)),
    broken("guest-denied", "the socket is of another group and mode", denies, Mend::Command),
    broken("no-greeting", "the helper is stopped", hangs, Mend::Service(starts)),
    broken("other-helper", "QEMU's own helper has the socket", is_qemus, Mend::Service(starts)),
    broken("connections-full", "all connections are in use", is_full, Mend::Service(starts)),
    broken("no-names", "the helper's resolver has died", loses_names, Mend::Service(starts)),
    broken("no-socket", "the helper that libvirt started for a guest is gone", ends_for_guest, Mend::Service(libvirt)),
    broken("command-hangs", "a command hangs in a disk", hangs_in_disk, Mend::Service(goes_on)),
    // dm-multipath
    broken("map-suspended", "a map is suspended", suspends, Mend::Command),
    broken("no-multipathd", "multipathd does not run", ends_multipathd, Mend::Service(starts_multipathd)),
    broken("multipathd-silent", "multipathd hangs", stops_multipathd, Mend::Service(starts_multipathd)),
    Broken {
        then: &["multipathd-other-key"],
        ..broken("no-key-file", "multipath.conf has no 'reservation_key file'", keeps_no_keys, Mend::Command)
    },
    Broken {
        then: &["multipathd-other-key"],
        ..broken("key-is-number", "multipath.conf has a number for a key", keeps_number, Mend::Service(edits))
    },
    broken("multipathd-other-key", "multipathd has another key for a map", keeps_other_key, Mend::Command),
    broken(
        "multipathd-does-not-register",
        "multipathd would not register a path that comes back",
        does_not_register,
        Mend::Command,
    ),
    broken("path-without-key", "a path has lost its key behind everybody's back", loses_key, Mend::Command),
    // The helper notices it when it is asked for the map's keys, and tells multipathd.
    Broken {
        passes: Some("warning: multipathd has key 0xa for map mpatha, but the disk has no registration"),
        ..broken("multipathd-stale-key", "another node has fenced the guest", is_fenced, Mend::Command)
    },
    // Disks
    on_spare("key-of-nobody", "this host has a key on a disk that no guest has", leaves_key, Mend::Command, &[]),
    on_spare(
        "reservation-of-nobody",
        "this host holds a disk that no guest has",
        leaves_reservation,
        Mend::Command,
        &["key-of-nobody"],
    ),
    on_spare(
        "stale-session",
        "this host has a key by an iSCSI session that is gone",
        leaves_session,
        Mend::Command,
        &["key-of-nobody"],
    ),
    on_spare("disk-refuses", "a disk has no reservations", has_none, Mend::Service(has_some), &[]),
    // Guests
    broken("shared-disk", "two guests have one disk", share, Mend::Service(migrates)),
    broken("guest-on-path", "a guest has a path instead of the map", is_on_path, Mend::Service(is_on_map)),
    broken("stops-at-conflicts", "a guest's error policy is stop", may_stop, Mend::Service(is_on_map)),
];

fn ends(host: &mut Host) -> Result<()> {
    host.helper.take().context("a helper")?.stop()
}

/// What the units do.
fn starts(host: &mut Host) -> Result<()> {
    host.helpers.clear();
    host.clients.clear();
    host.helper = None;
    host.serve(&[])
}

/// Of this project's a process is left that removes the socket.
fn is_killed(host: &mut Host) -> Result<()> {
    is_qemus(host)?;
    host.helpers.pop().context("a helper")?.kill()
}

fn is_a_file(host: &mut Host) -> Result<()> {
    ends(host)?;
    fs::write(SOCKET, "")?;
    Ok(())
}

fn starts_without_file(host: &mut Host) -> Result<()> {
    fs::remove_file(SOCKET)?;
    starts(host)
}

fn denies(_: &mut Host) -> Result<()> {
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
    chown(SOCKET, None, Some(0))?;
    Ok(())
}

fn hangs(host: &mut Host) -> Result<()> {
    host::stop(host.helper.as_ref().context("a helper")?.pid())
}

fn is_qemus(host: &mut Host) -> Result<()> {
    ends(host)?;
    host.serve_other(OTHER, SOCKET)
}

/// The guest connects for its next command.
fn is_full(host: &mut Host) -> Result<()> {
    host.helper = None;
    host.serve(&["--max-connections", "2"])?;
    let helper = host.helper.as_ref().context("a helper")?;
    host.clients = vec![helper.client()?, helper.client()?];
    Ok(())
}

/// It is missed when somebody changes something.
fn loses_names(_: &mut Host) -> Result<()> {
    let name = "qemu-pr-names";
    process::kill(wait::until(name, SETTLE, || process::of_broker(name))?.pid)?;
    host::reserve()
}

fn ends_for_guest(host: &mut Host) -> Result<()> {
    host.guest = None;
    host.serve_other(crate::helper::PROGRAM, OF_LIBVIRT)?;
    host.guest = Some(Guest::start("web1", &host::map(), Path::new(OF_LIBVIRT), "")?);
    host.helpers.pop().context("a helper")?.stop()
}

fn libvirt(host: &mut Host) -> Result<()> {
    host.serve_other(crate::helper::PROGRAM, OF_LIBVIRT)?;
    super::says_ok(&[])?;
    is_on_map(host)?;
    host.helpers.clear();
    Ok(())
}

fn hangs_in_disk(host: &mut Host) -> Result<()> {
    let number = host.spare.number()?;
    let table = format!("0 32768 multipath 1 queue_if_no_path 0 1 1 service-time 0 1 1 {number} 1");
    lun::run("/sbin/dmsetup", &["create", STUCK, "--table", &table])?;
    lun::run("/sbin/dmsetup", &["message", STUCK, "0", &format!("fail_path {number}")])?;
    let device = format!("/dev/mapper/{STUCK}");
    let ask = Command::new(PROGRAM)
        .args(["keys", &device, "--socket", SOCKET])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    host.asking = Some(ask);
    // doctor takes it for hung then.
    thread::sleep(Duration::from_secs(6));
    Ok(())
}

fn goes_on(host: &mut Host) -> Result<()> {
    lun::run("/sbin/dmsetup", &["message", STUCK, "0", &format!("reinstate_path {}", host.spare.number()?)])?;
    let status = host.asking.take().context("somebody who asks")?.wait()?;
    ensure!(status.success(), "what hung ended with {status}");
    lun::run("/sbin/dmsetup", &["remove", "--retry", STUCK])
}

fn suspends(_: &mut Host) -> Result<()> {
    lun::run("/sbin/dmsetup", &["suspend", "--nolockfs", "--noflush", MAP])
}

fn ends_multipathd(host: &mut Host) -> Result<()> {
    host.scene.multipathd.kill()
}

fn starts_multipathd(host: &mut Host) -> Result<()> {
    host.scene.multipathd.kill()?;
    host.scene.multipathd.start_again()
}

fn stops_multipathd(host: &mut Host) -> Result<()> {
    host::stop(host.scene.multipathd.pid().context("multipathd")?)
}

fn keeps_no_keys(_: &mut Host) -> Result<()> {
    host::configure(&host::configuration().replace("reservation_key file", ""))
}

fn keeps_number(_: &mut Host) -> Result<()> {
    // Whatever is there comes last, and counts.
    fs::remove_dir_all(CONFIGURATIONS)?;
    host::configure(&host::configuration().replace("reservation_key file", "reservation_key 0x5"))
}

fn edits(_: &mut Host) -> Result<()> {
    host::configure(&host::configuration())
}

fn keeps_other_key(_: &mut Host) -> Result<()> {
    services::tell(&format!("setprkey map {MAP} key 0x1")).map(drop)
}

fn does_not_register(_: &mut Host) -> Result<()> {
    services::tell(&format!("unsetprstatus map {MAP}")).map(drop)
}

/// The path that does not hold the reservation, which would end with its registration.
fn loses_key(host: &mut Host) -> Result<()> {
    let path = &host.scene.paths[1];
    path.settle()?;
    path.directly(&Request::register(KEY, 0))?.good()?;
    let first = &host.scene.paths[0];
    first.settle()?;
    first.directly(&Request::reserve(KEY, KIND))?.good().map(drop)
}

fn is_fenced(host: &mut Host) -> Result<()> {
    let third = &host.scene.third;
    third.settle()?;
    third.directly(&Request::register_anyhow(OTHER_KEY))?.good()?;
    third.directly(&Request::preempt(OTHER_KEY, KEY, KIND))?.good()?;
    let keys = third.keys()?;
    ensure!(keys == [OTHER_KEY], "the other node has left {keys:x?}");
    Ok(())
}

fn leaves_key(host: &mut Host) -> Result<()> {
    host.spare.directly(&Request::register_anyhow(KEY))?.good().map(drop)
}

fn leaves_reservation(host: &mut Host) -> Result<()> {
    leaves_key(host)?;
    host.spare.directly(&Request::reserve(KEY, KIND))?.good().map(drop)
}

/// A session of this initiator by another number, as a login after a restart leaves it.
fn leaves_session(host: &mut Host) -> Result<()> {
    leaves_key(host)?;
    let disk = host.spare().display().to_string();
    let status = Run::at(Path::new(SOCKET), &["status", &disk, "--json"])?.json()?;
    let port = status["registrations"][0]["initiator"].as_str().context("a registration")?;
    let (name, _) = port.split_once(",i,0x").context("an iSCSI session")?;
    let gone = format!("{name},i,0x00023dfffffe");
    host.spare.directly(&Request::register(KEY, 0))?.good()?;
    let key = format!("{KEY:#x}");
    host::does(&["register", &disk, "--new-key", &key, "--spec-i-pt", &gone])?;
    host.spare.directly(&Request::register(KEY, 0))?.good().map(drop)
}

/// Where the command against the finding before puts its file.
const CONFIGURATIONS: &str = "/etc/multipath/conf.d";

const EMULATE: &str = "/sys/kernel/config/target/core/fileio_0/spare/attrib/emulate_pr";

fn has_none(_: &mut Host) -> Result<()> {
    lun::put(Path::new(EMULATE), "0")
}

fn has_some(_: &mut Host) -> Result<()> {
    lun::put(Path::new(EMULATE), "1")
}

fn share(host: &mut Host) -> Result<()> {
    host.guests.push(Guest::start("web2", &host::map(), Path::new(SOCKET), "")?);
    Ok(())
}

fn migrates(host: &mut Host) -> Result<()> {
    host.guests.pop().context("a second guest").map(drop)
}

fn is_on_path(host: &mut Host) -> Result<()> {
    host.guest = None;
    let path = Path::new("/dev").join(host.scene.paths[0].name());
    host.guest = Some(Guest::start("web1", &path, Path::new(SOCKET), "")?);
    Ok(())
}

fn is_on_map(host: &mut Host) -> Result<()> {
    host.guest = None;
    host.guest = Some(Guest::start("web1", &host::map(), Path::new(SOCKET), "")?);
    Ok(())
}

fn may_stop(host: &mut Host) -> Result<()> {
    host.guest = None;
    host.guest = Some(Guest::start("web1", &host::map(), Path::new(SOCKET), ",werror=stop,rerror=stop")?);
    Ok(())
}
