//! A host as a tree of files with sockets in it: a map of two paths that a guest uses, and a disk that nobody uses.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pr_control::{Answer, Snapshot};
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{PrOut, ReservationKey, ReservationType, SenseCode, Status, TransportId};
use tempfile::TempDir;

use super::{listener::Listener, storage::Storage};
use crate::stand_in::converse;

/// The paths of the map.
pub const HERE: &str = "sdb";
pub const THERE: &str = "sdc";

/// The guest's key.
pub const KEY: u64 = 0xa;

/// The number of a session that has ended.
pub const DEAD: u32 = 4;

const HELPER: &str = "run/qemu-pr-helper.sock";
const IQN: &str = "iqn.2024-01.test:here";

/// A running virtual machine.
pub struct Guest {
    pub pid: u32,
    pub name: &'static str,
    pub machine: &'static str,
    /// Empty for one that was started without a helper.
    pub socket: &'static str,
    pub disk: &'static str,
    /// What it does about errors of writes.
    pub policy: &'static str,
}

/// The guest that has the map.
pub const WEB: Guest = Guest {
    pid: 200,
    name: "web1",
    machine: "pc-q35-7.2",
    socket: "/run/qemu-pr-helper.sock",
    disk: "dm-0",
    policy: "report",
};

/// What multipathd says, and what it was told.
#[derive(Default)]
struct Multipathd {
    answers: BTreeMap<String, String>,
    told: Vec<String>,
}

/// The host.
pub struct Host {
    dir: TempDir,
    storage: Arc<Mutex<Storage>>,
    multipathd: Arc<Mutex<Multipathd>>,
    snapshot: Arc<Mutex<Snapshot>>,
    listeners: Mutex<Vec<(String, Listener)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nexus(initiator: u64) -> Nexus {
    Nexus { initiator: InitiatorPort(initiator), target_port: 1 }
}

impl Host {
    /// A host on which all is well.
    pub fn sound() -> Self {
        let ways = [("dm-0", 0, 0xb), (HERE, 0, 0xb), (THERE, 0, 0xc), ("sda", 1, 0xb)];
        let ways = ways
            .into_iter()
            .map(|(name, unit, initiator)| (name.to_owned(), (unit, nexus(0x5000_0000_0000_0000 + initiator))));
        let storage = Storage {
            units: [LogicalUnit::default(), LogicalUnit::default(), LogicalUnit::default()],
            ways: ways.collect(),
            refusals: BTreeMap::new(),
            is_qemus_own: false,
        };
        let host = Self {
            dir: tempfile::tempdir().expect("a directory"),
            storage: Arc::new(Mutex::new(storage)),
            multipathd: Arc::default(),
            snapshot: Arc::new(Mutex::new(Snapshot { pid: 100, max_connections: 1024, ..Snapshot::default() })),
            listeners: Mutex::default(),
        };
        fs::set_permissions(host.root(), Permissions::from_mode(0o755)).expect("a directory for all");
        host.disks();
        host.process(100, "qemu-pr-helper");
        host.process(101, "qemu-pr-keeper");
        host.guest(&WEB);
        host.serve(HELPER);
        host.control();
        host.serve_multipathd();
        host.units_are(&[
            ("qemu-pr-helper.socket", "active", "enabled"),
            ("qemu-pr-helper.service", "active", "indirect"),
        ]);
        for path in [HERE, THERE] {
            host.register(path, KEY);
        }
        host
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let is_directory = path.symlink_metadata().expect("something there").is_dir();
        if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("remove it");
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        _ = fs::remove_file(&path);
        symlink(to, path).expect("a link");
    }

    fn disks(&self) {
        for (name, host, wwid) in [("sda", 3, "naa.600a"), (HERE, 3, "naa.600b"), (THERE, 4, "naa.600b")] {
            self.file(&format!("dev/{name}"), "");
            let device = format!("devices/pci0/host{host}/target{host}:0:0/{host}:0:0:{}", name.len());
            self.file(&format!("sys/{device}-{name}/state"), "running\n");
            self.file(&format!("sys/{device}-{name}/wwid"), &format!("{wwid}\n"));
            let block = format!("{device}-{name}/block/{name}");
            self.file(&format!("sys/{block}/size"), "8\n");
            self.link(&format!("sys/{block}/device"), "../..");
            self.link(&format!("sys/block/{name}"), format!("../{block}"));
        }
        for (host, address) in [(3, "b"), (4, "c")] {
            self.file(
                &format!("sys/class/scsi_host/host{host}/host_sas_address"),
                &format!("0x500000000000000{address}\n"),
            );
            self.file(&format!("sys/class/scsi_host/host{host}/proc_name"), "mpt3sas\n");
        }
        self.file("dev/dm-0", "");
        self.link("dev/mapper/mpatha", "../dm-0");
        for (attribute, value) in [("name", "mpatha"), ("uuid", "mpath-3600b"), ("suspended", "0")] {
            self.file(&format!("sys/block/dm-0/dm/{attribute}"), &format!("{value}\n"));
        }
        for path in [HERE, THERE] {
            self.link(&format!("sys/block/dm-0/slaves/{path}"), format!("../../{path}"));
            self.link(&format!("sys/block/{path}/holders/dm-0"), self.path("sys/block/dm-0"));
        }
    }

    fn process(&self, pid: u32, name: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.file(&format!("proc/{pid}/cmdline"), &format!("{name}\0"));
    }

    /// Has it run, in place of the one with this number.
    pub fn guest(&self, guest: &Guest) {
        let Guest { pid, name, machine, socket, disk, policy } = guest;
        self.process(*pid, "qemu-system-x86");
        let mut words = vec![
            "/usr/bin/qemu-system-x86_64".to_owned(),
            "-name".to_owned(),
            format!("guest={name},debug-threads=on"),
            "-machine".to_owned(),
            format!("{machine},usb=off"),
            "-object".to_owned(),
            format!(r#"{{"qom-type":"pr-manager-helper","id":"pr-helper0","path":"{socket}"}}"#),
            "-blockdev".to_owned(),
            format!(
                r#"{{"driver":"host_device","filename":"/dev/{disk}","pr-manager":"pr-helper0","node-name":"storage"}}"#
            ),
            "-blockdev".to_owned(),
            r#"{"node-name":"format","driver":"raw","file":"storage"}"#.to_owned(),
            "-device".to_owned(),
            format!(r#"{{"driver":"scsi-block","drive":"format","werror":"{policy}"}}"#),
        ];
        if socket.is_empty() {
            words.truncate(5);
        }
        self.file(&format!("proc/{pid}/cmdline"), &(words.join("\0") + "\0"));
        self.file(
            &format!("proc/{pid}/status"),
            "Name:\tqemu-system-x86\nUid:\t64055\t64055\t64055\t64055\nGid:\t107\t107\t107\t107\nGroups:\t107 36 \n",
        );
        self.link(&format!("proc/{pid}/fd/0"), "/dev/null");
        self.link(&format!("proc/{pid}/fd/12"), self.path(&format!("dev/{disk}")));
    }

    /// What systemd says of its units.
    pub fn units_are(&self, units: &[(&str, &str, &str)]) {
        fs::create_dir_all(self.path("run/systemd/system")).expect("a directory");
        let unit = |(name, state, file): &(&str, &str, &str)| {
            format!("Id={name}\nLoadState=loaded\nActiveState={state}\nResult=exit-code\nUnitFileState={file}\n")
        };
        let output = units.iter().map(unit).collect::<Vec<_>>().join("\n");
        let script = format!("#!/bin/sh\ncat <<'END'\n{output}END\n");
        self.file("systemctl", &script);
        fs::create_dir_all(self.path("usr/bin")).expect("a directory");
        // Not by this process: a child that another test is just starting could have it open for writing.
        let program = self.path("usr/bin/systemctl");
        let installed = Command::new("install").arg(self.path("systemctl")).arg(program).status();
        assert!(installed.expect("run install").success());
    }

    /// Listens there, until it is dropped.
    pub fn listen(&self, name: &str, serve: impl FnMut(UnixStream) + Send + 'static) -> Listener {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        Listener::new(&path, serve)
    }

    fn keep(&self, name: &str, serve: impl FnMut(UnixStream) + Send + 'static) {
        let listener = self.listen(name, serve);
        lock(&self.listeners).push((name.to_owned(), listener));
    }

    /// What has been served at this end is not any more.
    fn drop_listeners(&self, which: impl Fn(&str) -> bool) {
        lock(&self.listeners).retain(|(name, _)| !which(name));
    }

    /// A helper listens there.
    pub fn serve(&self, name: &str) {
        let storage = Arc::clone(&self.storage);
        self.keep(name, move |stream| {
            converse(stream, &mut |request| Some(lock(&storage).answer(&request))).unwrap_or_default();
        });
        let socket = self.path(name);
        chown(&socket, Some(0), Some(107)).expect("the guests' group");
        fs::set_permissions(socket, Permissions::from_mode(0o660)).expect("permissions");
    }

    /// The guests may connect.
    pub fn open_to_guests(&self) {
        chown(self.path(HELPER), Some(0), Some(107)).expect("the guests' group");
        fs::set_permissions(self.path(HELPER), Permissions::from_mode(0o660)).expect("permissions");
    }

    pub fn remove_helper(&self) {
        self.drop_listeners(|name| name.contains("pr-helper") && !name.ends_with("control"));
    }

    pub fn move_helper(&self, name: &str) {
        self.remove_helper();
        self.serve(name);
    }

    pub fn is_qemus_own(&self) {
        lock(&self.storage).is_qemus_own = true;
    }

    fn control(&self) {
        let snapshot = Arc::clone(&self.snapshot);
        self.keep("run/qemu-pr-helper/control", move |mut stream| {
            let mut line = String::new();
            _ = BufReader::new(&stream).read_line(&mut line);
            let answer = Answer::Snapshot(Box::new(lock(&snapshot).clone()));
            let line = serde_json::to_string(&answer).expect("JSON") + "\n";
            _ = stream.write_all(line.as_bytes());
        });
    }

    pub fn state_is(&self, snapshot: Snapshot) {
        *lock(&self.snapshot) = snapshot;
    }

    fn serve_multipathd(&self) {
        for (question, answer) in [
            ("show config local", "defaults {\n\tverbosity 2\n\treservation_key \"file\"\n}\nblacklist {\n}\n"),
            ("show paths raw format \"%d %t\"", "sdb active\nsdc active\n"),
            ("getprkey map mpatha", "0xa\n"),
            ("getprstatus map mpatha", "set\n"),
            ("getprhold map mpatha", "unset\n"),
        ] {
            self.multipathd_says(question, answer);
        }
        let multipathd = Arc::clone(&self.multipathd);
        self.keep("run/multipathd.socket", move |mut stream| {
            let mut length = [0; size_of::<usize>()];
            while stream.read_exact(&mut length).is_ok() {
                let mut command = vec![0; usize::from_ne_bytes(length)];
                stream.read_exact(&mut command).expect("a command");
                let command = String::from_utf8(command).expect("words");
                let command = command.trim_end_matches('\0').to_owned();
                let mut multipathd = lock(&multipathd);
                let answer = multipathd.answers.get(&command).cloned().unwrap_or_else(|| "fail\n".to_owned()) + "\0";
                multipathd.told.push(command);
                _ = stream.write_all(&[&answer.len().to_ne_bytes(), answer.as_bytes()].concat());
            }
        });
        fs::set_permissions(self.path("run/multipathd.socket"), Permissions::from_mode(0o666)).expect("permissions");
    }

    pub fn multipathd_says(&self, question: &str, answer: &str) {
        lock(&self.multipathd).answers.insert(question.to_owned(), answer.to_owned());
    }

    pub fn told_multipathd(&self) -> Vec<String> {
        lock(&self.multipathd).told.clone()
    }

    pub fn remove_multipathd(&self) {
        self.drop_listeners(|name| name.ends_with("multipathd.socket"));
    }

    /// A device stands for a disk that nobody has registered for.
    pub fn leads_elsewhere(&self, device: &str) {
        lock(&self.storage).ways.get_mut(device).expect("a device").0 = 2;
    }

    pub fn refuses(&self, device: &str, sense: SenseCode) {
        lock(&self.storage).refusals.insert(device.to_owned(), sense);
    }

    /// The disks as they are.
    pub fn units(&self) -> [LogicalUnit; 3] {
        lock(&self.storage).units.clone()
    }

    pub fn register(&self, device: &str, key: u64) {
        lock(&self.storage).send(device, &PrOut::register_and_ignore_existing_key(ReservationKey(key)));
    }

    /// As many hosts as that register with a key of their own.
    pub fn others_register(&self, device: &str, count: u64) {
        let mut storage = lock(&self.storage);
        let unit = storage.ways[device].0;
        for number in 1..=count {
            let request = PrOut::register_and_ignore_existing_key(ReservationKey(0x1_0000 + number));
            let completion = storage.units[unit].execute(
                nexus(0x5001_0000_0000_0000 + number),
                &request.cdb(),
                &request.list(),
                &mut [],
            );
            assert_eq!(completion.status, Status::GOOD, "host {number}");
        }
    }

    pub fn unregister(&self, device: &str) {
        self.register(device, 0);
    }

    pub fn reserve(&self, device: &str, kind: ReservationType) {
        lock(&self.storage).send(device, &PrOut::reserve(ReservationKey(KEY), kind));
    }

    /// The host is logged in to an iSCSI target.
    pub fn has_iscsi_session(&self, number: u32) {
        let session = format!("devices/platform/host7/session{number}/iscsi_session/session{number}");
        self.file(&format!("sys/{session}/initiatorname"), &format!("{IQN}\n"));
        self.file("sys/class/scsi_host/host7/proc_name", "iscsi_tcp\n");
        self.link(&format!("sys/class/iscsi_session/session{number}"), format!("../../{session}"));
    }

    /// A session of the host registers.
    pub fn register_session(&self, device: &str, number: u32) {
        let isid = format!("00023d{number:06x}");
        let mut storage = lock(&self.storage);
        let unit = storage.ways[device].0;
        let id = TransportId::Iscsi { name: IQN.as_bytes(), session: Some(isid.as_bytes()) };
        let nexus = storage.units[unit].log_in(&id, 1).expect("a port");
        let request = PrOut::register(ReservationKey::ZERO, ReservationKey(KEY));
        let completion = storage.units[unit].execute(nexus, &request.cdb(), &request.list(), &mut []);
        assert_eq!(completion.status, Status::GOOD, "session {number}");
    }
}
