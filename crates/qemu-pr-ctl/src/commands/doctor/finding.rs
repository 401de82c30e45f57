//! What can be wrong, in sentences, and what mends it.

use std::borrow::Cow;

use scsi_persistent_reservations::ReservationKey;
use serde::Serialize;

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Guests have no reservations, or no I/O.
    Critical,
    /// A guest's registration or reservation is not what the guest was told.
    Error,
    /// A failure to come, or something lost.
    Warning,
    /// Something was not checked.
    Notice,
}

impl Severity {
    /// In the text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    // systemd
    #[error("{unit} has failed ({result}); journalctl --unit {unit} shows why")]
    UnitFailed { unit: String, result: String },
    #[error("{unit} is not enabled: there will be no helper after a reboot")]
    UnitNotEnabled { unit: String },

    // The helper's control socket
    #[error("the helper rejects new connections: all {max} are in use (--max-connections)")]
    ConnectionsFull { max: u64 },
    #[error("the helper's state cannot be read: {reason}")]
    ControlSilent { reason: String },
    #[error("the multipath broker is gone: commands on multipath maps fail")]
    BrokerGone,
    #[error("{command} of {client} has been in flight on {disk} for {seconds} seconds: the disk or its path hangs")]
    CommandHangs { command: String, client: String, disk: String, seconds: u64 },
    #[error("the helper has rejected {count} connections since its start, because all {max} were in use")]
    ClientsRejected { count: u64, max: u64 },
    #[error("the helper has rejected {count} connections since its start, because of the limits for a user or process")]
    ClientsOverLimit { count: u64 },
    #[error("{count} commands on multipath maps had no answer since the helper's start; its log names the paths")]
    MultipathFailures { count: u64 },
    #[error(
        "audit records have no names of programs, units and disks any more: the helper's resolver (qemu-pr-names) \
         is gone"
    )]
    NamesGone,
    #[error("{count} messages and audit records of the helper were lost since its start, because its log was too slow")]
    MessagesLost { count: u64, is_traced: bool },

    // The helper's socket
    #[error("{socket}: No such file or directory; no helper listens there, and guests that need it do not start")]
    NoSocket { socket: String },
    #[error("{socket} is not a socket; the helper does not replace it")]
    NotASocket { socket: String },
    #[error("{socket}: Connection refused; the helper has ended and left its socket")]
    NoListener { socket: String },
    #[error(
        "{socket} accepts connections, but no greeting arrives within {seconds} s; the helper hangs or does not \
         start"
    )]
    NoGreeting { socket: String, seconds: u64 },
    #[error(
        "{socket} accepts connections and closes them before the greeting; the helper is at its limits or \
         shutting down"
    )]
    ClosesConnections { socket: String },
    #[error("another program than a helper listens on {socket}: {reason}")]
    NotAHelper { socket: String, reason: String },
    #[error("{socket}: Permission denied for this user{owner}")]
    SocketDenied { socket: String, owner: String },
    #[error("guest {guest} (user {user}) may not connect to {socket} ({owner})")]
    GuestDenied { guest: String, user: u32, socket: String, owner: String },
    #[error(
        "another helper, such as QEMU's, listens on {socket}; it may have been started before this one was \
         installed"
    )]
    OtherHelper { socket: String },

    // dm-multipath; a configuration has an effect where multipathd lacks the key of a map because of it
    #[error("map {map} is suspended: its I/O waits until it is resumed")]
    MapSuspended { map: String },
    #[error("multipathd cannot be reached ({reason}), and does not register paths of maps that come back")]
    NoMultipathd { reason: String },
    #[error("multipathd does not answer '{command}' ({reason})")]
    MultipathdSilent { command: String, reason: String },
    #[error("multipathd's configuration has no 'reservation_key file': it does not store the keys of guests")]
    NoKeyFile { has_effect: bool },
    #[error(
        "multipathd's configuration has 'reservation_key {key}' in section {section}: it registers paths that \
         come back with that key, not with the guest's"
    )]
    KeyIsNumber { key: String, section: String, has_effect: bool },
    #[error(
        "map {map}: path {path} carries I/O and has no registration with key {key}; unless the disk counts hosts and \
         not paths, writes by it meet a RESERVATION CONFLICT"
    )]
    PathWithoutKey { map: String, path: String, key: ReservationKey },
    #[error(
        "map {map}: {paths} paths carry I/O and key {key} has {registrations} registrations; unless the disk \
         counts hosts and not paths, one is not registered"
    )]
    FewerKeysThanPaths { map: String, key: ReservationKey, registrations: usize, paths: usize },
    #[error("map {map}: path {path} answers with other reservations than the map; it may lead to another disk")]
    PathOfOtherDisk { map: String, path: String },
    #[error("map {map} is registered with key {key}, but multipathd has {has} for it")]
    MultipathdOtherKey { map: String, key: ReservationKey, has: String },
    #[error("map {map} is registered with key {key}, but multipathd does not register paths that come back")]
    MultipathdDoesNotRegister { map: String, key: ReservationKey },
    #[error(
        "multipathd has key {key} for map {map}, but the disk has no registration with it: the guest was fenced, \
         or unregistered while multipathd was away"
    )]
    MultipathdStaleKey { map: String, key: ReservationKey },
    #[error("multipathd reports that map {map} holds a reservation, but the disk does not")]
    MultipathdBelievesHeld { map: String },

    // Disks
    #[error("{disk}: cannot read its reservations: {error}")]
    DiskRefuses { disk: String, error: String },
    #[error(
        "{disk}: key {key} is registered for {initiator}, which is no session of this host any more; the \
         registration is stale unless another host has the same initiator name"
    )]
    StaleSession { disk: String, key: ReservationKey, initiator: String, holds: bool, kind: Option<u8> },
    #[error(
        "{disk}: this host holds the reservation with key {key}, but no guest here has the disk open; it is stale \
         unless cluster software of the host uses it"
    )]
    ReservationOfNobody { disk: String, key: ReservationKey, kind: u8 },
    #[error(
        "{disk}: this host is registered with key {key}, but no guest here has the disk open; it is stale unless \
         cluster software of the host uses it"
    )]
    KeyOfNobody { disk: String, key: ReservationKey },

    // Guests
    #[error("{disk} is open in guests {guests}, which are one initiator to the disk: they cannot fence each other")]
    SharedDisk { disk: String, guests: String, last: String },
    #[error("guest {guest} has {path} open, a path of map {map}: only this path is registered")]
    GuestOnPath { guest: String, path: String, map: String },
    #[error(
        "guest {guest}: {disk} has {policy}: before QEMU 9.1 a RESERVATION CONFLICT pauses the guest instead of \
         being reported to it"
    )]
    StopsAtConflicts { guest: String, disk: String, policy: String },

    // Security modules
    #[error("AppArmor denies {program} '{action}' on {object} (profile {by})")]
    AppArmorDenies { program: String, action: String, object: String, by: String },
    #[error("SELinux denies {program} '{action}' on {object} ({by})")]
    SelinuxDenies { program: String, action: String, object: String, by: String },

    #[error("not checked, for lack of privileges: {what}")]
    NotSeen { what: String },
}

/// What `--json` prints of one.
#[derive(Serialize)]
pub struct Shape {
    kind: &'static str,
    severity: Severity,
    message: String,
    mend: String,
}

impl Finding {
    /// For programs; the helper's units have this name.
    pub fn shape(&self, units: &str) -> Shape {
        let (severity, kind) = self.judged();
        Shape { kind, severity, message: self.to_string(), mend: self.mend(units) }
    }

    /// How bad it is, and its name for programs.
    pub const fn judged(&self) -> (Severity, &'static str) {
        use Severity::{Critical, Error, Notice, Warning};

        match self {
            Self::UnitFailed { .. } => (Critical, "unit-failed"),
            Self::UnitNotEnabled { .. } => (Warning, "unit-not-enabled"),
            Self::ConnectionsFull { .. } => (Critical, "connections-full"),
            Self::ControlSilent { .. } => (Error, "control-silent"),
            Self::BrokerGone => (Critical, "no-broker"),
            Self::CommandHangs { .. } => (Error, "command-hangs"),
            Self::ClientsRejected { .. } => (Warning, "clients-rejected"),
            Self::ClientsOverLimit { .. } => (Warning, "clients-over-limit"),
            Self::MultipathFailures { .. } => (Warning, "multipath-failures"),
            Self::NamesGone => (Warning, "no-names"),
            Self::MessagesLost { .. } => (Warning, "messages-lost"),
            Self::NoSocket { .. } => (Critical, "no-socket"),
            Self::NotASocket { .. } => (Critical, "not-a-socket"),
            Self::NoListener { .. } => (Critical, "no-listener"),
            Self::NoGreeting { .. } => (Critical, "no-greeting"),
            Self::ClosesConnections { .. } => (Critical, "closes-connections"),
            Self::NotAHelper { .. } => (Critical, "not-a-helper"),
            Self::SocketDenied { .. } => (Error, "socket-denied"),
            Self::GuestDenied { .. } => (Critical, "guest-denied"),
            Self::OtherHelper { .. } => (Warning, "other-helper"),
            Self::MapSuspended { .. } => (Critical, "map-suspended"),
            Self::NoMultipathd { .. } => (Error, "no-multipathd"),
            Self::MultipathdSilent { .. } => (Error, "multipathd-silent"),
            Self::NoKeyFile { has_effect } => (if *has_effect { Error } else { Warning }, "no-key-file"),
            Self::KeyIsNumber { has_effect, .. } => (if *has_effect { Error } else { Warning }, "key-is-number"),
            Self::PathWithoutKey { .. } => (Error, "path-without-key"),
            Self::FewerKeysThanPaths { .. } => (Warning, "fewer-keys-than-paths"),
            Self::PathOfOtherDisk { .. } => (Error, "path-of-other-disk"),
            Self::MultipathdOtherKey { .. } => (Error, "multipathd-other-key"),
            Self::MultipathdDoesNotRegister { .. } => (Warning, "multipathd-does-not-register"),
            Self::MultipathdStaleKey { .. } => (Warning, "multipathd-stale-key"),
            Self::MultipathdBelievesHeld { .. } => (Warning, "multipathd-believes-held"),
            Self::DiskRefuses { .. } => (Error, "disk-refuses"),
            Self::StaleSession { holds, .. } => (if *holds { Error } else { Warning }, "stale-session"),
            Self::ReservationOfNobody { .. } => (Warning, "reservation-of-nobody"),
            Self::KeyOfNobody { .. } => (Warning, "key-of-nobody"),
            Self::SharedDisk { .. } => (Error, "shared-disk"),
            Self::GuestOnPath { .. } => (Error, "guest-on-path"),
            Self::StopsAtConflicts { .. } => (Warning, "stops-at-conflicts"),
            Self::AppArmorDenies { .. } => (Error, "apparmor-denies"),
            Self::SelinuxDenies { .. } => (Error, "selinux-denies"),
            Self::NotSeen { .. } => (Notice, "not-seen"),
        }
    }

    /// The command that mends it where the helper's units have this name.
    pub fn mend(&self, units: &str) -> String {
        let restart = |unit: &str| format!("systemctl restart {}", quoted(unit));
        let (service, socket_unit) = (format!("{units}.service"), format!("{units}.socket"));
        match self {
            Self::UnitFailed { unit, .. } => restart(unit),
            Self::UnitNotEnabled { unit } => format!("systemctl enable {}", quoted(unit)),
            Self::ConnectionsFull { max } | Self::ClientsRejected { max, .. } => more_connections(&service, *max),
            Self::ClientsOverLimit { .. } => {
                "qemu-pr-ctl state  # who has them; raise connections-per-process in /etc/qemu-pr-helper.toml"
                    .to_owned()
            }
            Self::CommandHangs { .. } => "dmesg --level emerg,alert,crit,err,warn".to_owned(),
            Self::MultipathFailures { .. } => format!("journalctl --unit {service} --grep path"),
            Self::MessagesLost { is_traced: true, .. } => "qemu-pr-ctl trace disable '*'".to_owned(),
            Self::MessagesLost { is_traced: false, .. } => restart("systemd-journald.service"),
            Self::NoSocket { socket }
            | Self::NoListener { socket }
            | Self::NoGreeting { socket, .. }
            | Self::ClosesConnections { socket }
            | Self::OtherHelper { socket }
                if socket.starts_with(OF_LIBVIRT) =>
            {
                RESTART_LIBVIRT.to_owned()
            }
            Self::NoSocket { .. } => format!("systemctl enable --now {socket_unit}"),
            Self::NotASocket { socket } => format!("rm {} && {}", quoted(socket), restart(&socket_unit)),
            Self::NoListener { .. } | Self::NotAHelper { .. } => restart(&socket_unit),
            Self::ControlSilent { .. }
            | Self::BrokerGone
            | Self::NamesGone
            | Self::NoGreeting { .. }
            | Self::ClosesConnections { .. }
            | Self::OtherHelper { .. } => restart(&service),
            Self::GuestDenied { socket, .. } => format!("chgrp kvm {0} && chmod 0660 {0}", quoted(socket)),
            Self::MapSuspended { map } => format!("dmsetup resume {}", quoted(map)),
            Self::NoMultipathd { .. } => "systemctl enable --now multipathd.service".to_owned(),
            Self::MultipathdSilent { .. } => restart("multipathd.service"),
            Self::NoKeyFile { .. } => KEEP_KEYS.to_owned(),
            Self::KeyIsNumber { .. } => FIND_NUMBERS.to_owned(),
            Self::PathWithoutKey { map, key, .. }
            | Self::FewerKeysThanPaths { map, key, .. }
            | Self::MultipathdOtherKey { map, key, .. } => {
                format!("qemu-pr-ctl register-ignore --new-key {key} {}", quoted(&format!("/dev/mapper/{map}")))
            }
            Self::PathOfOtherDisk { path, .. } => {
                format!("multipathd del path {0} && multipathd add path {0}", quoted(path))
            }
            Self::MultipathdDoesNotRegister { map, .. } => format!("multipathd setprstatus map {}", quoted(map)),
            Self::MultipathdStaleKey { map, .. } => {
                format!("multipathd unsetprstatus map {0} && multipathd unsetprkey map {0}", quoted(map))
            }
            Self::MultipathdBelievesHeld { map } => format!("multipathd unsetprhold map {}", quoted(map)),
            Self::DiskRefuses { disk, .. } => format!("qemu-pr-ctl compare {}", quoted(disk)),
            Self::StaleSession { disk, key, kind, .. } => {
                let (disk, kind) = (quoted(disk), kind.unwrap_or(1));
                let preempt = format!("qemu-pr-ctl preempt --key {key} --victim {key} --type {kind} {disk}");
                let register = format!("qemu-pr-ctl register-ignore --new-key {key} {disk}");
                // The disk may tell of the PREEMPT instead of carrying out what comes next.
                format!("{register} && {preempt} && ({register} || {register})")
            }
            Self::ReservationOfNobody { disk, key, kind } => {
                format!("qemu-pr-ctl release --key {key} --type {kind} {}", quoted(disk))
            }
            Self::KeyOfNobody { disk, key } => format!("qemu-pr-ctl unregister --key {key} {}", quoted(disk)),
            Self::SharedDisk { last, .. } => {
                format!("virsh migrate --live {} qemu+ssh://OTHER-HOST/system", quoted(last))
            }
            Self::GuestOnPath { guest, map, .. } => {
                format!("virsh edit {}  # source dev='/dev/mapper/{map}'", quoted(guest))
            }
            Self::StopsAtConflicts { guest, .. } => {
                format!("virsh edit {}  # error_policy='report' rerror_policy='report'", quoted(guest))
            }
            Self::AppArmorDenies { .. } => "aa-logprof".to_owned(),
            Self::SelinuxDenies { .. } => ALLOW_DENIED.to_owned(),
            Self::SocketDenied { .. } | Self::NotSeen { .. } => "sudo qemu-pr-ctl doctor".to_owned(),
        }
    }
}

/// Where the sockets of the helpers are that libvirt starts.
const OF_LIBVIRT: &str = "/var/lib/libvirt/";

/// When it starts, libvirt starts the helpers that its guests lack. It is one of these, and guests do not notice.
const RESTART_LIBVIRT: &str = "systemctl try-restart libvirtd.service virtqemud.service";

/// A file of its own, because those that are there are the administrator's.
const KEEP_KEYS: &str = concat!(
    r"mkdir -p /etc/multipath/conf.d && printf 'defaults {\n    reservation_key file\n}\n' ",
    ">/etc/multipath/conf.d/reservation-key.conf && multipathd reconfigure",
);

/// Where the number is only the administrator knows.
const FIND_NUMBERS: &str =
    "grep -rn reservation_key /etc/multipath.conf /etc/multipath/conf.d  # make it 'file', then multipathd reconfigure";

/// A policy of what was denied today.
const ALLOW_DENIED: &str = "ausearch -m avc -ts today | audit2allow -M qemu-pr-helper && semodule -i qemu-pr-helper.pp";

fn more_connections(service: &str, max: u64) -> String {
    let more = max.saturating_mul(2).max(64);
    format!("systemctl edit {service}  # ExecStart= with --max-connections {more}, LimitNOFILE= thrice that")
}

/// A word for a shell: names of guests and maps are other people's.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+:@%-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    let inner = word.replace(char::is_control, "?").replace('\'', r"'\''");
    Cow::Owned(format!("'{inner}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_to_a_shell_is_a_word_to_it() {
        for (name, word) in
            [("web1", "web1"), ("a b", "'a b'"), ("x; reboot", "'x; reboot'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            let finding = Finding::SharedDisk { disk: "d".into(), guests: "a, b".into(), last: name.into() };
            assert_eq!(
                finding.mend("qemu-pr-helper"),
                format!("virsh migrate --live {word} qemu+ssh://OTHER-HOST/system")
            );
        }
    }

    #[test]
    fn each_kind_is_documented() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/qemu-pr-ctl-json.md"));
        let (_, page) = page.split_once("* `doctor`:").expect("its part of the page");
        let kinds: Vec<&str> = include_str!("finding.rs")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => (")?.1.strip_suffix("\"),"))
            .filter_map(|judged| judged.rsplit('"').next())
            .collect();
        assert_eq!(kinds.len(), 42, "{kinds:?}");
        for kind in kinds {
            assert!(page.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn the_worst_comes_first() {
        assert!(Severity::Critical < Severity::Error && Severity::Error < Severity::Warning);
        assert!(Severity::Warning < Severity::Notice);
    }
}
