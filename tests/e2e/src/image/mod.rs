//! The root of a bed: busybox, kernel modules, the helper under test with its libraries, and the driver program.

mod cpio;
mod libiscsi;
mod multipath;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pr_dev::packages;
use pr_dev::workspace::{self, bytes, output};

use cpio::Archive;

use crate::kernel::{Kernel, Version};
use crate::kind::Kind;
use crate::programs::{Programs, REFERENCE};
use crate::suite::Suite;
use crate::vm::STARTED;

/// What makes the LUN, both ways of reaching it, and the device-mapper table that hangs.
pub const MODULES: &[&str] = &[
    "sd_mod",
    "sg",
    "target_core_file",
    "tcm_loop",
    "dm_multipath",
    "dm_service_time",
    "iscsi_target_mod",
    "iscsi_tcp",
];

/// What a guest needs to see a disk that QEMU passes through.
const GUEST_MODULES: &[&str] = &["sd_mod", "sg", "virtio_pci", "virtio_scsi"];

/// The same for a guest with a disk of its own, a network and multipathd.
const CLUSTER_MODULES: &[&str] = &[
    "ext4",
    "virtio_blk",
    "virtio_net",
    "af_packet",
    "dm_multipath",
    "dm_service_time",
    "sd_mod",
    "sg",
    "virtio_pci",
    "virtio_scsi",
];

/// The firmware that a guest without display and network asks for.
const FIRMWARE: &[(&str, &str)] =
    &[("seabios", "bios-256k.bin"), ("qemu", "linuxboot_dma.bin"), ("qemu", "kvmvapic.bin")];
const FIRMWARE_FOLDER: &str = "usr/share";

/// Where the unpacked packages have their libraries.
const LIBRARIES: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "lib"];

/// The same in a suite whose `/lib` is a link to `/usr/lib`.
const NEWER_LIBRARIES: [&str; 4] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib/systemd", "usr/lib"];

/// Names for the ids that a helper may drop to.
pub const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
pub const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Writes the root image of a bed. The programs in it are those of another suite where that is asked for.
pub fn write(to: &Path, kind: Kind, kernel: &Kernel, programs: &Programs, words: &str, suite: Suite) -> Result<()> {
    let of_another_suite = match kind {
        Kind::MultipathRandom if !suite.is_hosts_own() => Some(packages::unpack_multipath_of(suite.name())?),
        Kind::Migration => Some(packages::unpack_newest_qemu()?),
        _ => None,
    };
    let is_hosts_own = of_another_suite.is_none();
    let (packages, root) = match of_another_suite {
        None => (packages::unpack_for_beds()?, Root::new()?),
        Some(packages) => {
            let folders = NEWER_LIBRARIES.iter().map(|folder| packages.join(folder)).collect();
            let libraries = Libraries { folders, gnu: "x86_64-linux-gnu" };
            (packages.clone(), Root::with_libraries(packages, libraries))
        }
    };
    let mut root = driven(root, &programs.driver)?;
    root.program(&programs.helper, "usr/bin/qemu-pr-helper")?;
    if is_hosts_own {
        root.program(&programs.ctl, "usr/bin/qemu-pr-ctl")?;
        root.program(Path::new("/usr/bin/sg_persist"), "usr/bin/sg_persist")?;
        root.program(Path::new("/sbin/dmsetup"), "sbin/dmsetup")?;
        // As they are in the container image.
        for script in ["entrypoint.sh", "wait-for-helper.sh"] {
            root.content(script, 0o755, fs::read(workspace::root().join("packaging/container").join(script))?);
        }
    } else {
        root.program(&multipath::find(&packages, "sbin/dmsetup")?, "sbin/dmsetup")?;
    }
    root.program(&multipath::find(&packages, "sbin/iscsistart")?, "sbin/iscsistart")?;
    let file_system: &[&str] = if kind == Kind::Kubevirt { &["ext4"] } else { &[] };
    let modules = root.modules(kernel, &[MODULES, file_system].concat())?;
    if kind.has_multipath() {
        multipath::add(&mut root, &packages)?;
    }
    if kind == Kind::Libiscsi {
        libiscsi::add(&mut root, &packages)?;
    }
    if kind.has_qemu() {
        let system = if is_hosts_own { Path::new("/") } else { &packages };
        let qemu = "usr/bin/qemu-system-x86_64";
        root.program(&system.join(qemu), qemu)?;
        let accelerator = "usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so";
        // A part of the program from 11 on.
        if is_hosts_own {
            root.program(&system.join(accelerator), accelerator)?;
        }
        for (folder, name) in FIRMWARE {
            root.copy(&system.join(FIRMWARE_FOLDER).join(folder).join(name), &format!("guest/firmware/{name}"))?;
        }
    }
    if kind == Kind::Doctor {
        // QEMU's own, which may have been left in the place of this project's.
        root.program(Path::new(REFERENCE), "usr/libexec/qemu-pr-helper")?;
    }
    if kind.has_guest() {
        let guest = Kernel::unpack(Version::Debian12)?;
        root.copy(&guest.image, "guest/vmlinuz")?;
        let guest_root = if kind == Kind::Cluster { cluster_root(&guest)? } else { guest_root(&guest)? };
        root.content("guest/root.cpio", 0o644, guest_root);
    }
    // The kernel's command line has said which part, if there is more than one.
    let command = format!("echo {STARTED}\n/bin/bed-inside {} {words} $part\n{END}", kind.word());
    root.content("init", 0o755, init(&modules, &command).into_bytes());
    root.write_to(to)
}

/// The root image of a machine in which subjects are measured: their programs, by their numbers.
pub fn write_to_measure(
    to: &Path,
    kind: Kind,
    kernel: &Kernel,
    driver: &Path,
    programs: &[&Path],
    words: &str,
) -> Result<()> {
    let mut root = driven(Root::new()?, driver)?;
    for (number, program) in programs.iter().enumerate() {
        root.program(program, &format!("subjects/{number}"))?;
    }
    let mut modules = MODULES.to_vec();
    if kind.has_multipath() {
        let packages = packages::unpack_for_beds()?;
        root.program(Path::new("/sbin/dmsetup"), "sbin/dmsetup")?;
        root.program(&multipath::find(&packages, "sbin/iscsistart")?, "sbin/iscsistart")?;
        multipath::add(&mut root, &packages)?;
        // Devices that are no maps.
        modules.push("dm_zero");
    }
    let modules = root.modules(kernel, &modules)?;
    // User Mode Linux is given up unless this is said.
    let command = format!("echo {STARTED}\n/bin/bed-inside {} {words}\n{END}", kind.word());
    root.content("init", 0o755, init(&modules, &command).into_bytes());
    root.write_to(to)
}

/// What each machine has that `bed-inside` drives.
fn driven(mut root: Root, driver: &Path) -> Result<Root> {
    root.program(Path::new("/bin/busybox"), "bin/busybox")?;
    root.program(driver, "bin/bed-inside")?;
    root.text("etc/passwd", PASSWD);
    root.text("etc/group", GROUP);
    Ok(root)
}

/// The guest's root: it has `sg_persist`, and does what comes down its serial line.
pub fn guest_root(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut root = Root::new()?;
    root.program(Path::new("/usr/bin/sg_persist"), "usr/bin/sg_persist")?;
    // Each line is run as it stands; the marker tells the other end where its output ends and how it went.
    let serve = "stty -echo\necho guest ready\nwhile read -r line; do eval \"$line\" 2>&1; echo \"done $?\"; done";
    root.of_guest(kernel, GUEST_MODULES, &format!("{serve}\n{END}"))
}

/// What a cluster's guest starts with: it goes on with the Debian on its disk.
fn cluster_root(kernel: &Kernel) -> Result<Vec<u8>> {
    let first = "mkdir -p /root\n\
         mount -t ext4 /dev/vda /root\n\
         for folder in dev proc sys; do mount --move /$folder /root/$folder; done\n\
         exec switch_root /root /first";
    Root::new()?.of_guest(kernel, CLUSTER_MODULES, first)
}

/// The first process: mounts, modules, then one command whose terminal is the first serial line. The kernel's own
/// messages go to the second one, so that they never cut a line of the report in two.
pub fn init(modules: &[String], command: &str) -> String {
    init_on("ttyS0", modules, command)
}

/// The same on another terminal.
pub fn init_on(terminal: &str, modules: &[String], command: &str) -> String {
    let modules = modules.join(" ");
    format!(
        "#!/bin/busybox sh\n\
         export PATH=/usr/bin:/usr/sbin:/bin:/sbin\n\
         /bin/busybox mkdir -p /proc /sys /dev /run /tmp /var/target/pr /var/run /sbin /usr/sbin\n\
         /bin/busybox --install -s\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         exec </dev/{terminal} >/dev/{terminal} 2>&1\n\
         for module in {modules}; do insmod $module; done\n\
         {command}\n"
    )
}

/// How a machine ends whose only task is done.
pub const END: &str = "sync\necho b >/proc/sysrq-trigger\nsleep 60";

/// A root that is being put together: path (without the leading slash) to permissions and content.
pub struct Root {
    packages: PathBuf,
    files: BTreeMap<String, (u32, Vec<u8>)>,
    /// Where libraries are that the host's loader cannot load: another architecture's, or those of a newer suite. None
    /// where it can.
    foreign: Option<Libraries>,
}

/// Libraries of another system.
pub struct Libraries {
    /// Where they lie, those that are preferred first.
    pub folders: Vec<PathBuf>,
    /// What the GNU tools call the system.
    pub gnu: &'static str,
}

impl Root {
    pub fn new() -> Result<Self> {
        Ok(Self::below(packages::unpack_for_beds()?))
    }

    /// One whose packages are unpacked elsewhere.
    pub fn below(packages: PathBuf) -> Self {
        Self { packages, files: BTreeMap::new(), foreign: None }
    }

    /// One whose libraries are those and no others.
    pub fn with_libraries(packages: PathBuf, libraries: Libraries) -> Self {
        Self { foreign: Some(libraries), ..Self::below(packages) }
    }

    /// Whether it has a file of this path.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub fn content(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.files.insert(path.to_owned(), (permissions, content));
    }

    pub fn text(&mut self, path: &str, content: &str) {
        self.content(path, 0o644, content.as_bytes().to_vec());
    }

    /// Copies one file, following symbolic links.
    pub fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
        let permissions = fs::metadata(from)?.permissions().mode() & 0o777;
        self.content(to, permissions, content);
        Ok(())
    }

    /// Copies a program or plug-in, and every library it asks for to the path where the loader looked for it.
    pub fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        self.copy(from, to)?;
        if self.foreign.is_some() {
            return self.foreign_libraries(from);
        }
        for library in self.libraries(from)? {
            let inside = library.strip_prefix(&self.packages).unwrap_or(&library).to_owned();
            let inside = inside.to_str().context("a library's path is not UTF-8")?.trim_start_matches('/').to_owned();
            if !self.files.contains_key(&inside) {
                self.copy(&library, &inside)?;
            }
        }
        Ok(())
    }

    /// Adds a foreign program's loader, and every library that it or another library names. `ldd` would run it.
    fn foreign_libraries(&mut self, program: &Path) -> Result<()> {
        let header = output(Command::new("readelf").args(["--wide", "--dynamic", "--program-headers"]).arg(program))?;
        let bracketed = |line: &str, before: &str| {
            let rest = line.split_once(before)?.1;
            Some(rest.trim_end().strip_suffix(']')?.trim().to_owned())
        };
        if let Some(loader) = header.lines().find_map(|line| bracketed(line, "interpreter: ")) {
            let to = loader.trim_start_matches('/');
            if !self.has(to) {
                self.foreign_library(&loader, to)?;
            }
        }
        for library in header.lines().filter_map(|line| bracketed(line, "Shared library: [")) {
            let gnu = self.foreign.as_ref().map_or("", |foreign| foreign.gnu);
            let to = format!("lib/{gnu}/{library}");
            if !self.has(&to) {
                self.foreign_library(&library, &to)?;
            }
        }
        Ok(())
    }

    fn foreign_library(&mut self, wanted: &str, to: &str) -> Result<()> {
        let name = Path::new(wanted).file_name().context("a library without a name")?;
        let foreign = self.foreign.as_ref().context("a host's own library")?;
        let from = foreign.folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
        let from = from.with_context(|| format!("no package for {} has {wanted}", foreign.gnu))?;
        self.program(&from, to)
    }

    fn libraries(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let listing = Command::new("ldd")
            .arg(program)
            .env("LD_LIBRARY_PATH", std::env::join_paths(LIBRARIES.map(|folder| self.packages.join(folder)))?)
            .output()
            .context("ldd cannot be started")?;
        // A static program is the one thing that ldd fails for and that is right all the same.
        if !listing.status.success() {
            return Ok(Vec::new());
        }
        let listing = String::from_utf8(listing.stdout).context("ldd printed something that is not text")?;
        if let Some(line) = listing.lines().find(|line| line.contains("not found")) {
            bail!("{} lacks a library on this host: {}", program.display(), line.trim());
        }
        Ok(listing
            .lines()
            .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
            .map(PathBuf::from)
            .collect())
    }

    /// Copies modules and returns their paths inside, in the order of loading.
    pub fn modules(&mut self, kernel: &Kernel, names: &[&str]) -> Result<Vec<String>> {
        let mut inside = Vec::new();
        for module in kernel.modules(names)? {
            let name = module.file_name().context("a module without a name")?.to_string_lossy().into_owned();
            let to = format!("modules/{}", name.trim_end_matches(".xz"));
            if module.extension().is_some_and(|extension| extension == "xz") {
                // insmod hands the kernel what it reads.
                self.content(&to, 0o644, bytes(Command::new("xz").args(["--decompress", "--stdout"]).arg(&module))?);
            } else {
                self.copy(&module, &to)?;
            }
            inside.push(format!("/{to}"));
        }
        Ok(inside)
    }

    /// As a guest's: with busybox, whose first process loads these modules and then runs a command.
    fn of_guest(mut self, kernel: &Kernel, modules: &[&str], command: &str) -> Result<Vec<u8>> {
        self.program(Path::new("/bin/busybox"), "bin/busybox")?;
        let modules = self.modules(kernel, modules)?;
        self.content("init", 0o755, init(&modules, command).into_bytes());
        let mut bytes = Vec::new();
        self.archive(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes it as a file.
    pub fn write_to(self, to: &Path) -> Result<()> {
        let file = File::create(to).with_context(|| format!("{} cannot be written", to.display()))?;
        self.archive(BufWriter::new(file))
    }

    fn archive(self, out: impl std::io::Write) -> Result<()> {
        let mut archive = Archive::new(out);
        let mut folders: Vec<String> = self.files.keys().flat_map(|path| ancestors(path)).collect();
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            archive.directory(&folder)?;
        }
        for (path, (permissions, content)) in &self.files {
            archive.file(path, *permissions, content)?;
        }
        archive.finish()?;
        Ok(())
    }
}

/// The folders above a path, outermost first.
fn ancestors(path: &str) -> Vec<String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect()
}
