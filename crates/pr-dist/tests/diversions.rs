//! Whose helper is at `/usr/bin/qemu-pr-helper`, in whatever order packages come, are upgraded and go: the maintainer
//! scripts are run by dpkg itself, below a directory of their own.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pr_dev::workspace::root;
use tempfile::TempDir;

const OURS: &str = "qemu-pr-helper-rs";

/// The package that has the helper in Debian and in Ubuntu.
const DEBIANS: &str = "qemu-system-common";

/// The one of Proxmox VE, which is in conflict with Debian's.
const PROXMOX: &str = "pve-qemu-kvm";

/// What all of them have, and where it is beside ours.
const FILES: [(&str, &str); 2] = [
    ("usr/bin/qemu-pr-helper", "usr/bin/qemu-pr-helper.distrib"),
    ("usr/share/man/man8/qemu-pr-helper.8.gz", "usr/share/man/man8/qemu-pr-helper.distrib.8.gz"),
];

/// What is done to a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Install,
    Upgrade,
    Remove,
}

/// A life of a package.
const LIFE: [Step; 3] = [Step::Install, Step::Upgrade, Step::Remove];

/// A host of which only dpkg's database is there.
struct Host {
    folder: TempDir,
    /// The versions that are installed, ours and the other one's.
    installed: [Option<u8>; 2],
    other: &'static str,
}

impl Host {
    fn new(other: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        for path in ["root/etc", "root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/lib/dpkg/triggers"] {
            fs::create_dir_all(folder.path().join(path)).expect("a directory");
        }
        fs::write(folder.path().join("root/var/lib/dpkg/status"), "").expect("dpkg's database");
        Self { folder, installed: [None; 2], other }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn dpkg(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.arg(format!("--root={}", self.path("").display())).env("LC_ALL", "C").args(words);
        let output = command.output().expect("dpkg");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Does it as an administrator would, without the right to.
    fn change(&self, words: &[&str]) {
        let forces = ["--force-script-chrootless", "--force-not-root", "--force-bad-path", "--force-unsafe-io"];
        self.dpkg("dpkg", &[&forces, words].concat());
    }

    /// Takes a step of our package's life or the other one's, and looks at what is there then.
    fn step(&mut self, is_other: bool, step: Step) {
        let name = if is_other { self.other } else { OURS };
        let version = match step {
            Step::Install => Some(1),
            Step::Upgrade => Some(2),
            Step::Remove => None,
        };
        match version {
            Some(version) => {
                let package = package(self.folder.path(), name, version);
                self.change(&["--install", &package.display().to_string()]);
            }
            None => self.change(&["--remove", name]),
        }
        self.installed[usize::from(is_other)] = version;
        self.look(&format!("after {step:?} of {name}"));
    }

    /// The file is ours if we are there, the other one's if we are not, and nobody's after both.
    fn look(&self, when: &str) {
        let ours = self.installed[0].map(|version| content(OURS, version));
        let others = self.installed[1].map(|version| content(self.other, version));
        let (place, beside) = if ours.is_some() { (ours, others) } else { (others, None) };
        for (path, aside) in FILES {
            assert_eq!(fs::read_to_string(self.path(path)).ok(), place, "{path} {when}");
            assert_eq!(fs::read_to_string(self.path(aside)).ok(), beside, "{aside} {when}");
        }
        let diversions = self.dpkg("dpkg-divert", &["--list"]).lines().count();
        assert_eq!(diversions, if self.installed[0].is_some() { FILES.len() } else { 0 }, "diversions {when}");
    }
}

fn content(name: &str, version: u8) -> String {
    format!("{name} {version}")
}

/// Makes a package, ours with the scripts that it is shipped with.
fn package(folder: &Path, name: &str, version: u8) -> PathBuf {
    let (tree, package) = (folder.join("tree"), folder.join(format!("{name}_{version}.deb")));
    if package.exists() {
        return package;
    }
    let write = |path: &str, text: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(path, text).expect("a file of a package");
    };
    let control =
        format!("Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: none\nDescription: none\n");
    write("DEBIAN/control", &control);
    for (path, _) in FILES {
        write(path, &content(name, version));
    }
    if name == OURS {
        write("usr/lib/sysusers.d/qemu-pr-helper-rs.conf", "");
        for script in ["preinst", "postinst", "prerm", "postrm"] {
            let from = root().join("packaging/debian").join(script);
            fs::copy(from, tree.join("DEBIAN").join(script)).expect("a maintainer script");
        }
    }
    let built =
        Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&package).output();
    assert!(built.expect("dpkg-deb").status.success(), "{} cannot be built", package.display());
    fs::remove_dir_all(tree).expect("a directory");
    package
}

/// All orders of two lives, of which so much is over.
fn orders(over: [usize; 2]) -> Vec<Vec<(bool, Step)>> {
    if over == [LIFE.len(); 2] {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (is_other, part) in [(false, 0), (true, 1)] {
        if let Some(step) = LIFE.get(over[part]) {
            let mut then = over;
            then[part] += 1;
            all.extend(orders(then).into_iter().map(|rest| [vec![(is_other, *step)], rest].concat()));
        }
    }
    all
}

/// Lives both lives in each order.
fn in_each_order(other: &'static str) {
    let orders = orders([0, 0]);
    assert_eq!(orders.len(), 20);
    for order in orders {
        let mut host = Host::new(other);
        for (is_other, step) in order {
            host.step(is_other, step);
        }
    }
}

#[test]
fn the_helper_is_the_right_one_beside_debians_package_in_each_order() {
    in_each_order(DEBIANS);
}

#[test]
fn the_helper_is_the_right_one_beside_proxmox_ves_package_in_each_order() {
    in_each_order(PROXMOX);
}

#[test]
fn a_debian_that_becomes_a_proxmox_ve_keeps_our_helper_and_has_proxmox_ves_without_it() {
    let mut host = Host::new(DEBIANS);
    host.step(true, Step::Install);
    host.step(false, Step::Install);
    host.step(true, Step::Remove);
    host.other = PROXMOX;
    host.step(true, Step::Install);
    host.step(true, Step::Upgrade);
    host.step(false, Step::Upgrade);
    host.step(false, Step::Remove);
}

#[test]
fn what_apparmor_keeps_of_our_profiles_goes_when_the_package_is_purged() {
    let mut host = Host::new(DEBIANS);
    host.step(false, Step::Install);
    let kept = ["etc/apparmor.d/local", "etc/apparmor.d/disable", "var/cache/apparmor/0123.0"];
    for folder in kept {
        fs::create_dir_all(host.path(folder)).unwrap();
        for file in [OURS, "others"] {
            fs::write(host.path(folder).join(file), "").unwrap();
        }
    }
    host.step(false, Step::Remove);
    let is_there = |folder: &str, file: &str| host.path(folder).join(file).exists();
    assert!(kept.iter().all(|folder| is_there(folder, OURS)));
    host.change(&["--purge", OURS]);
    assert!(kept.iter().all(|folder| !is_there(folder, OURS) && is_there(folder, "others")));
}
