//! The RPM package, for Fedora, RHEL and their like, and a look at what became of it.
//!
//! There the name /usr/bin/qemu-pr-helper belongs to a package that RHEL's QEMU wants in its own version, and RPM has no
//! diversions. So nothing of that package is touched: this one lies beside it, and says how to be used instead
//! (`packaging/rpm/README`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::arch;
use pr_dev::packages;
use pr_dev::tools;
use pr_dev::workspace::{output, root};

use super::{Build, PROGRAMS};

/// What the units are called, so that those of QEMU's own package keep their names.
const UNITS: &str = "qemu-pr-helper-rs";

/// The units that no other package has.
const OWN: [&str; 3] = ["qemu-pr-broker.socket", "qemu-pr-broker@.service", "qemu-pr-exporter.service"];

/// Where the helper lies: the name of the program is what libvirt's tools look for, the folder is ours.
const HELPER: &str = "/usr/libexec/qemu-pr-helper-rs/qemu-pr-helper";

/// Where each of the programs lies.
const PLACES: [&str; 3] = [HELPER, "/usr/bin/qemu-pr-ctl", "/usr/bin/qemu-pr-exporter"];

/// Whom the service runs as.
const SYSUSERS: &str = "/usr/lib/sysusers.d/qemu-pr-helper-rs.conf";

/// What it tells SELinux.
const POLICY: &str = "/usr/share/selinux/packages/qemu_pr_helper.cil";

/// What QEMU's own package has, in Fedora and RHEL.
const THEIRS: [&str; 4] = [
    "/usr/bin/qemu-pr-helper",
    "/usr/lib/systemd/system/qemu-pr-helper.service",
    "/usr/lib/systemd/system/qemu-pr-helper.socket",
    "/usr/share/man/man8/qemu-pr-helper.8",
];

/// Makes the package and returns its path.
pub fn make(build: Build) -> Result<PathBuf> {
    units(&build.release().join("rpm"))?;
    pages(&build.release().join("rpm-man"))?;
    let mut command = tools::cargo_generate_rpm()?;
    command.args(["--package", "crates/qemu-pr-helper", "--auto-req"]).current_dir(root());
    if build.is_foreign()? {
        // The tool itself asks the loader what programs need, and this machine's does not know another one's. RPM reads it.
        packages::install_missing(&[packages::FOR_RPM])?;
        command.arg("find-requires");
    } else {
        command.arg("builtin");
    }
    build.make(command, "rpm")
}

/// The units under their other name, for the helper at its other place.
fn units(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let unit = |name: &str| -> Result<String> {
        let unit = fs::read_to_string(root().join("packaging/systemd").join(name))?;
        Ok(unit
            .replace("qemu-pr-helper.socket", &format!("{UNITS}.socket"))
            .replace("qemu-pr-helper.service", &format!("{UNITS}.service"))
            .replace("man:qemu-pr-helper(8)", &format!("man:{UNITS}(8)"))
            .replace("ExecStart=/usr/bin/qemu-pr-helper", &format!("ExecStart={HELPER}")))
    };
    for kind in ["service", "socket"] {
        let unit = unit(&format!("qemu-pr-helper.{kind}"))?;
        // There is one socket for everybody: whoever is started takes it over.
        let unit = unit.replace("[Unit]\n", &format!("[Unit]\nConflicts=qemu-pr-helper.{kind}\n"));
        fs::write(to.join(format!("{UNITS}.{kind}")), unit)?;
    }
    for name in OWN {
        fs::write(to.join(name), unit(name)?)?;
    }
    Ok(())
}

/// The man pages, compressed as distributions have them, the helper's by the package's name.
fn pages(to: &Path) -> Result<()> {
    if fs::exists(to)? {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for page in fs::read_dir(root().join("docs/man"))? {
        let page = page?.path();
        let name = page.file_name().and_then(|name| name.to_str()).context("a page without a name")?;
        let name = if name == "qemu-pr-helper.8" { "qemu-pr-helper-rs.8" } else { name };
        let copy = to.join(name);
        fs::copy(&page, &copy)?;
        output(Command::new("gzip").arg("-9n").arg(copy))?;
    }
    Ok(())
}

/// Asks RPM what is in the package, and installs it below a folder of its own.
pub fn check(build: Build, package: &Path) -> Result<()> {
    packages::install_missing(&[packages::FOR_RPM])?;
    let rpm = |words: &[&str]| output(Command::new("rpm").args(words).arg(package));
    rpm(&["--checksig", "--nosignature"])?;
    let architecture = rpm(&["-qp", "--queryformat", "%{ARCH}"])?;
    ensure!(architecture == build.0.elf().1, "{} is for {architecture}", package.display());

    let files = rpm(&["-qpl"])?;
    let files: Vec<_> = files.lines().collect();
    let papers = "/usr/share/doc/qemu-pr-helper-rs/THIRD-PARTY";
    let pages = ["qemu-pr-helper-rs", "qemu-pr-ctl", "qemu-pr-exporter"];
    let pages = pages.map(|name| format!("/usr/share/man/man8/{name}.8.gz"));
    for file in PLACES.into_iter().chain(pages.iter().map(String::as_str)).chain([papers, POLICY]) {
        ensure!(files.contains(&file), "{} lacks {file}", package.display());
    }
    for file in THEIRS {
        let taken = files.iter().any(|ours| *ours == file || *ours == format!("{file}.gz"));
        ensure!(!taken, "{} takes {file} from QEMU's own package", package.display());
    }

    // What it needs is what the programs load, systemd's user and group of it, and a shell for the scripts.
    let needs = rpm(&["-qpR"])?;
    let known = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux", "rpmlib(", "/bin/sh", "rtld("];
    for need in needs.lines() {
        ensure!(known.iter().any(|known| need.starts_with(known)), "{} needs {need}", package.display());
    }
    ensure!(needs.contains("libc.so.6(GLIBC_2.34)"), "{} does not say which C library it needs", package.display());

    installs(build, package)?;
    lint(package)
}

/// RPM's critic has nothing to say that has no reason in packaging/rpm/rpmlint.toml.
fn lint(package: &Path) -> Result<()> {
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--strict").arg("--config").arg(root().join("packaging/rpm/rpmlint.toml")).arg(package);
    let told = rpmlint.output().context("rpmlint cannot be started")?;
    ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    Ok(())
}

/// Installs the package, without its scripts, has RPM verify it, runs what was installed, and removes it.
fn installs(build: Build, package: &Path) -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let rpm = |words: &[&str]| {
        let mut command = Command::new("rpm");
        output(command.arg("--root").arg(place).arg("--dbpath=/rpm").args(words))
    };
    let path = package.to_str().context("a path that is not UTF-8")?;
    rpm(&["--install", "--ignorearch", "--nodeps", "--noscripts", path])?;
    let name = "qemu-pr-helper-rs";
    let differences = rpm(&["--verify", "--nodeps", "--noscripts", name])?;
    ensure!(differences.is_empty(), "{differences}");
    let inside = |path: &str| place.join(path.trim_start_matches('/'));
    for (program, path) in PROGRAMS.iter().zip(PLACES) {
        let version = output(arch::start(build.0, &inside(path))?.arg("--version"))?;
        ensure!(version.starts_with(program), "{path} says {version}");
    }
    let start = format!("ExecStart={HELPER} ");
    let unit = fs::read_to_string(inside(&format!("/usr/lib/systemd/system/{UNITS}.service")))?;
    ensure!(unit.contains(&start) && unit.contains(&format!("Requires={UNITS}.socket")), "the service starts another");
    let broker = fs::read_to_string(inside(&format!("/usr/lib/systemd/system/{}", OWN[1])))?;
    ensure!(broker.contains(&start) && broker.contains(&format!("Before={UNITS}.service")), "the broker is another's");
    let exporter = fs::read_to_string(inside(&format!("/usr/lib/systemd/system/{}", OWN[2])))?;
    ensure!(exporter.contains(&format!("\nExecStart={}\n", PLACES[2])), "the exporter's unit starts another");
    ensure!(fs::exists(inside(SYSUSERS))?, "nothing makes the service's user");
    rpm(&["--erase", "--nodeps", "--noscripts", name])?;
    ensure!(!fs::exists(inside(HELPER))?, "{HELPER} outlives its package");
    Ok(())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    /// Runs a script of the package as RPM would on a host without SELinux, with systemd's programs noting what they are
    /// asked for.
    fn asked(script: &str, remaining: &str) -> String {
        asked_on(script, remaining, 1)
    }

    /// The same where `selinuxenabled` has this exit status.
    fn asked_on(script: &str, remaining: &str, selinux: i32) -> String {
        let place = tempfile::tempdir().unwrap();
        let program = |name: &str, lines: &str| {
            let path = place.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
            output(Command::new("chmod").arg("755").arg(&path)).unwrap();
        };
        for name in ["systemctl", "systemd-sysusers", "semodule", "restorecon"] {
            program(name, "echo \"$@\" >>\"$NOTES\"\nexit 1");
        }
        program("selinuxenabled", &format!("exit {selinux}"));
        let path = format!("{}:/usr/bin:/bin", place.path().display());
        let notes = place.path().join("notes");
        let script = root().join("packaging/rpm").join(script);
        let mut command = Command::new("sh");
        command.arg(script).arg(remaining).env("PATH", path).env("NOTES", &notes).env("SYSTEMD", place.path());
        output(&mut command).expect("a script never fails, whatever systemd says");
        fs::read_to_string(notes).unwrap_or_default()
    }

    #[test]
    fn an_installation_starts_nothing_and_an_upgrade_restarts_what_runs() {
        assert_eq!(asked("post", "1"), "qemu-pr-helper-rs.conf\ndaemon-reload\n");
        assert_eq!(asked("post", "2"), "qemu-pr-helper-rs.conf\ndaemon-reload\n");
        assert_eq!(asked("preun", "1"), "");
        let restarted = "daemon-reload\ntry-restart qemu-pr-helper-rs.service qemu-pr-exporter.service\n";
        assert_eq!(asked("postun", "1"), restarted);
    }

    #[test]
    fn a_removal_ends_what_runs() {
        let ended = "disable --now --quiet qemu-pr-exporter.service qemu-pr-helper-rs.socket qemu-pr-helper-rs.service \
                     qemu-pr-broker.socket\n";
        assert_eq!(asked("preun", "0"), ended);
        assert_eq!(asked("postun", "0"), "daemon-reload\n");
    }

    #[test]
    fn the_policy_comes_and_goes_with_the_package_where_there_is_selinux() {
        let comes = asked_on("post", "1", 0);
        let (module, labels) =
            ("-X 200 -i /usr/share/selinux/packages/qemu_pr_helper.cil\n", "-RF /usr/libexec/qemu-pr-");
        assert!(comes.starts_with(module) && comes.contains(labels), "{comes}");
        assert!(!asked_on("postun", "1", 0).contains("qemu_pr_helper"), "an upgrade keeps it");
        let goes = asked_on("postun", "0", 0);
        assert!(goes.contains("-X 200 -r qemu_pr_helper\n"), "{goes}");
    }

    #[test]
    fn the_units_of_the_rpm_package_are_its_own() {
        let place = tempfile::tempdir().unwrap();
        units(place.path()).unwrap();
        let unit = |kind: &str| fs::read_to_string(place.path().join(format!("{UNITS}.{kind}"))).unwrap();
        assert!(unit("service").contains(&format!("\nExecStart={HELPER} --broker ")));
        assert!(unit("service").contains("\nAlso=qemu-pr-helper-rs.socket\n"));
        for kind in ["service", "socket"] {
            assert!(unit(kind).contains(&format!("\nConflicts=qemu-pr-helper.{kind}\n")), "{}", unit(kind));
            assert!(unit(kind).contains("\nDocumentation=man:qemu-pr-helper-rs(8)\n"), "{}", unit(kind));
        }
        let exporter = fs::read_to_string(place.path().join(OWN[2])).unwrap();
        assert!(exporter.contains("\nAfter=network.target qemu-pr-helper-rs.service\n"), "{exporter}");
        let broker = fs::read_to_string(place.path().join(OWN[1])).unwrap();
        assert!(broker.contains(&format!("\nExecStart={HELPER} --serve-broker\n")), "{broker}");
        assert!(broker.contains("\nBefore=qemu-pr-helper-rs.service\n"), "{broker}");
    }
}
