//! A machine for somebody who follows the manual: a disk by the paths of two initiators, the helper at its usual place,
//! and a shell. What is written to /dev, /etc, /run and /tmp is gone afterwards.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use e2e::session::Session;
use pr_lab::{Answer, Bed, Command, Helper, Outcome, PR_IN, PR_OUT, Stream, Subject};
use pr_sim::{InitiatorPort, LogicalUnit, Medium, Nexus};
use scsi_persistent_reservations::{Cdb, Completion, Status};

/// Makes the machine, starts the helper as the package's service does, and becomes the shell.
///
/// The disks are devices that every kernel has: what is sent to them with `SG_IO` never reaches the kernel.
const WORLD: &str = r#"
    exec 2>&1
    cp -a /etc "$PR_LAB_BED/etc" && mount --bind "$PR_LAB_BED/etc" /etc || exit 90
    mount -t tmpfs tmpfs /run && mkdir -p /run/programs /run/qemu-pr-helper || exit 91
    mount --bind "$(dirname "$0")" /run/programs && mount -t tmpfs tmpfs /tmp && cd /tmp || exit 92
    mount -t tmpfs tmpfs /dev && ln -s /proc/self/fd /dev/fd || exit 93
    mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 || exit 94
    mknod -m 660 /dev/sdb c 1 5 && mknod -m 660 /dev/sdc c 1 7 || exit 95
    export PATH="/run/programs:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" HOME=/root LC_ALL=C TERM=dumb
    qemu-pr-helper -k /run/qemu-pr-helper.sock --control /run/qemu-pr-helper/control 2>/run/helper.log &
    until qemu-pr-ctl ping >/dev/null 2>&1; do sleep 0.02; kill -0 $! || exit 96; done
    exec /bin/bash
"#;

/// `/dev/sdb` and `/dev/sdc`, and the initiator whose path each is.
const DISKS: [(u32, u64); 2] = [(5, 0x5000_0000_0000_00b0), (7, 0x5000_0000_0000_00c0)];

/// The machine, as long as somebody uses it.
pub struct World {
    /// Its shell.
    pub session: Session,
    _shell: Helper,
    _bed: Bed,
}

/// The programs are built next to this test.
fn programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().expect("a folder").to_path_buf();
    for program in ["qemu-pr-helper", "qemu-pr-ctl", "qemu-pr-exporter"] {
        assert!(folder.join(program).exists(), "{program} is missing: cargo build -p {program}");
    }
    folder
}

impl World {
    /// A new machine with a disk that nobody uses.
    pub fn new() -> Self {
        let bed = Bed::new(&Subject::ours(programs().join("qemu-pr-helper")));
        let (commands, keyboard) = io::pipe().expect("a pipe");
        let (screen, printed) = io::pipe().expect("a pipe");
        let namespace = ["unshare", "--mount", "--propagation", "private", "/bin/bash", "-c", WORLD];
        let launch = bed.launch().bare().by(&namespace).device(disk());
        let launch = launch.stream(0, Stream::Fd(OwnedFd::from(commands)));
        let shell = launch.stream(1, Stream::Fd(OwnedFd::from(printed))).spawn();
        let session = Session::new(File::from(OwnedFd::from(keyboard)), File::from(OwnedFd::from(screen)));
        Self { session, _shell: shell, _bed: bed }
    }
}

/// A logical unit that two initiators reach.
fn disk() -> impl FnMut(&Command) -> Outcome + Send + 'static {
    let mut unit = LogicalUnit::default();
    move |command| {
        let disk = DISKS.iter().find(|(minor, _)| *minor == rustix::fs::minor(command.device));
        let Some((_, initiator)) = disk else { return Outcome::Errno(libc::ENOTTY) };
        let mut bytes = [0; 16];
        let length = command.cdb.len().min(16);
        bytes[..length].copy_from_slice(&command.cdb[..length]);
        let nexus = Nexus { initiator: InitiatorPort(*initiator), target_port: 1 };
        match bytes[0] {
            PR_IN | PR_OUT => {}
            // READ CAPACITY(10), READ(10) and WRITE(10) of blocks of 512 bytes.
            0x25 => return Answer { data_in: [[0, 0, 0xff, 0xff], [0, 0, 2, 0]].concat(), ..Answer::default() }.into(),
            0x28 => return answer(&unit.access(nexus, Medium::Read), vec![0; 512]).into(),
            0x2a => return answer(&unit.access(nexus, Medium::Write), Vec::new()).into(),
            // TEST UNIT READY and the like.
            _ => return Answer::status(0).into(),
        }
        let cdb = Cdb::new(bytes).expect("one of the two commands");
        let mut buffer = vec![0; 65536];
        let completion = unit.execute(nexus, &cdb, &command.data_out, &mut buffer);
        answer(&completion, completion.data.to_vec()).into()
    }
}

fn answer(completion: &Completion<'_>, data_in: Vec<u8>) -> Answer {
    match completion.status {
        Status::GOOD => Answer { data_in, ..Answer::default() },
        Status::CHECK_CONDITION => Answer::check(&completion.sense.as_bytes()[..18]),
        status => Answer::status(status.0),
    }
}
