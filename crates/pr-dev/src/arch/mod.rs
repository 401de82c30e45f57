//! What it takes to build and to run programs for each architecture that they are made for.
//!
//! Debian's cross compiler brings the C library and the linker, and a Rust of which every architecture's standard library
//! is at hand compiles (`rust.rs`). Programs are run by QEMU's emulation of a process.

mod rust;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packages;
use crate::workspace::{cargo, target};

/// An architecture, by the name that Rust and the kernel have for it; Debian's, where it has another one, means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the documentation of a value is its help, and the names need none")]
pub enum Name {
    #[value(name = "x86_64", alias = "amd64")]
    X86,
    #[value(name = "aarch64", alias = "arm64")]
    Arm,
    #[value(name = "riscv64")]
    RiscV,
    #[value(name = "powerpc64le", alias = "ppc64el")]
    Power,
    #[value(name = "s390x")]
    S390,
}

/// All of them, the one that most machines are first.
pub const ALL: [Name; 5] = [Name::X86, Name::Arm, Name::RiscV, Name::Power, Name::S390];

impl Name {
    /// The name of Rust's target.
    pub fn target(self) -> &'static str {
        match self {
            Name::X86 => "x86_64-unknown-linux-gnu",
            Name::Arm => "aarch64-unknown-linux-gnu",
            Name::RiscV => "riscv64gc-unknown-linux-gnu",
            Name::Power => "powerpc64le-unknown-linux-gnu",
            Name::S390 => "s390x-unknown-linux-gnu",
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Name::X86 => "amd64",
            Name::Arm => "arm64",
            Name::RiscV => "riscv64",
            Name::Power => "ppc64el",
            Name::S390 => "s390x",
        }
    }

    /// What the GNU tools for it begin with, and the directory of its libraries.
    pub fn gnu(self) -> &'static str {
        match self {
            Name::X86 => "x86_64-linux-gnu",
            Name::Arm => "aarch64-linux-gnu",
            Name::RiscV => "riscv64-linux-gnu",
            Name::Power => "powerpc64le-linux-gnu",
            Name::S390 => "s390x-linux-gnu",
        }
    }

    /// The number of its machines in ELF files, and RPM's name for it.
    pub fn elf(self) -> (u16, &'static str) {
        match self {
            Name::X86 => (62, "x86_64"),
            Name::Arm => (183, "aarch64"),
            Name::RiscV => (243, "riscv64"),
            Name::Power => (21, "ppc64le"),
            Name::S390 => (22, "s390x"),
        }
    }

    /// The one that this machine is.
    pub fn host() -> Result<Self> {
        let here = std::env::consts::ARCH;
        let known = ALL.into_iter().find(|name| name.target().starts_with(&format!("{here}-")));
        known.with_context(|| format!("{here} is no architecture that the programs are built for"))
    }

    /// Its C compiler's package, and what that brings.
    fn compiler(self) -> packages::Package {
        match self {
            Name::X86 => ("gcc-x86-64-linux-gnu", "/usr/bin/x86_64-linux-gnu-gcc"),
            Name::Arm => ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
            Name::RiscV => ("gcc-riscv64-linux-gnu", "/usr/bin/riscv64-linux-gnu-gcc"),
            Name::Power => ("gcc-powerpc64le-linux-gnu", "/usr/bin/powerpc64le-linux-gnu-gcc"),
            Name::S390 => ("gcc-s390x-linux-gnu", "/usr/bin/s390x-linux-gnu-gcc"),
        }
    }

    /// The C library to link with, which the compiler's package only recommends.
    fn library(self) -> packages::Package {
        match self {
            Name::X86 => ("libc6-dev-amd64-cross", "/usr/x86_64-linux-gnu/lib/libc.so"),
            Name::Arm => ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.so"),
            Name::RiscV => ("libc6-dev-riscv64-cross", "/usr/riscv64-linux-gnu/lib/libc.so"),
            Name::Power => ("libc6-dev-ppc64el-cross", "/usr/powerpc64le-linux-gnu/lib/libc.so"),
            Name::S390 => ("libc6-dev-s390x-cross", "/usr/s390x-linux-gnu/lib/libc.so"),
        }
    }

    /// QEMU's emulation of one of its processes.
    fn process(self) -> &'static str {
        match self {
            Name::X86 => "qemu-x86_64",
            Name::Arm => "qemu-aarch64",
            Name::RiscV => "qemu-riscv64",
            Name::Power => "qemu-ppc64le",
            Name::S390 => "qemu-s390x",
        }
    }
}

/// Cargo for an architecture, with what it takes to compile and to link there.
pub fn cargo_for(name: Name) -> Result<Command> {
    let mut command = cargo();
    if name == Name::host()? {
        return Ok(command);
    }
    packages::install_missing(&[&[name.compiler(), name.library()]])?;
    let variable = name.target().replace('-', "_").to_uppercase();
    command
        .env("RUSTC", rust::compiler(name)?)
        .env("CARGO_BUILD_TARGET", name.target())
        .env(format!("CARGO_TARGET_{variable}_LINKER"), format!("{}-gcc", name.gnu()))
        .env(format!("CARGO_TARGET_{variable}_RUNNER"), format!("{} -L /usr/{}", name.process(), name.gnu()))
        // Another compiler's output is of no use to the machine's own.
        .env("CARGO_TARGET_DIR", target().join("arch"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols");
    Ok(command)
}

/// A program of an architecture, started on this machine.
pub fn start(name: Name, program: &Path) -> Result<Command> {
    if name == Name::host()? {
        return Ok(Command::new(program));
    }
    packages::install_missing(&[packages::FOR_FOREIGN])?;
    let mut command = Command::new(name.process());
    command.arg("-L").arg(Path::new("/usr").join(name.gnu())).arg(program);
    Ok(command)
}

/// What its packages say about the licences of another architecture's standard library.
pub fn standard_library_notice(name: Name) -> Result<PathBuf> {
    Ok(rust::library(name)?.join("usr/share/doc/libstd-rust-dev/copyright"))
}

/// Where Cargo puts the programs of an architecture.
pub fn built(name: Name) -> Result<PathBuf> {
    Ok(if name == Name::host()? {
        target().join("debug")
    } else {
        target().join("arch").join(name.target()).join("debug")
    })
}

/// For which machine a program is (`e_machine`, in the byte order that the file says).
pub fn elf_machine(program: &Path) -> Result<u16> {
    let bytes = std::fs::read(program).with_context(|| format!("{} cannot be read", program.display()))?;
    match bytes[..] {
        [0x7f, b'E', b'L', b'F', _, order, ..] if bytes.len() > 20 => {
            let machine = [bytes[18], bytes[19]];
            Ok(if order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) })
        }
        _ => bail!("{} is no program", program.display()),
    }
}
