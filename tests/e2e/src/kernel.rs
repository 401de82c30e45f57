//! A kernel as unpacked from Debian's packages: the image to boot, and its modules in the order of loading.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages;
use pr_dev::workspace::output;

/// Which of Debian's cloud kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// The kernel of Debian 12
    #[default]
    #[value(name = "6.1")]
    Debian12,
    /// The newest that Debian has
    Newest,
}

/// An unpacked kernel package.
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    modules: PathBuf,
    /// Module name to (path below `modules`, names it needs), from modules.dep.
    depends: HashMap<String, (String, Vec<String>)>,
    builtin: Vec<String>,
}

impl Kernel {
    /// Finds the unpacked kernel, fetching it first if need be.
    pub fn unpack(version: Version) -> Result<Self> {
        match version {
            Version::Debian12 => Self::below(&packages::unpack_for_beds()?),
            Version::Newest => Self::installed(&packages::unpack_newest_kernel()?.join("usr"), |it| {
                format!("lib/modules/{it}/vmlinuz")
            }),
        }
    }

    /// A kernel of Debian 12, of any architecture, unpacked in a directory.
    pub fn below(packages: &Path) -> Result<Self> {
        Self::installed(packages, |version| format!("boot/vmlinuz-{version}"))
    }

    /// One that has `lib/modules` below `base`, and its image where its version says.
    fn installed(base: &Path, image: impl Fn(&str) -> String) -> Result<Self> {
        let modules = base.join("lib/modules");
        let version = only_entry(&modules)?.file_name().unwrap_or_default().to_owned();
        if !fs::exists(modules.join(&version).join("modules.dep"))? {
            // The packages leave this to their installation scripts, which never ran.
            output(Command::new("/sbin/depmod").arg("-b").arg(base).arg(&version))?;
        }
        let image = base.join(image(version.to_str().context("a kernel's version is not UTF-8")?));
        Self::read(&modules, image)
    }

    /// Reads what the modules need of the only kernel that has its modules there.
    pub fn read(modules: &Path, image: PathBuf) -> Result<Self> {
        let modules = only_entry(modules)?;
        let depends = fs::read_to_string(modules.join("modules.dep"))?.lines().filter_map(parse_line).collect();
        let builtin = fs::read_to_string(modules.join("modules.builtin"))?.lines().map(module_name).collect();
        Ok(Self { image, modules, depends, builtin })
    }

    /// What it calls itself.
    pub fn release(&self) -> String {
        self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether it has a module, or the same built in.
    pub fn has_module(&self, name: &str) -> bool {
        self.depends.contains_key(name) || self.builtin.iter().any(|builtin| builtin == name)
    }

    /// The files of the named modules and of all that they need, each after what it needs.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for name in names {
            self.visit(&name.replace('-', "_"), &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
        if self.builtin.iter().any(|builtin| builtin == name) {
            return Ok(());
        }
        let (path, needs) = self.depends.get(name).with_context(|| format!("the kernel has no module {name}"))?;
        let path = self.modules.join(path);
        if order.contains(&path) {
            return Ok(());
        }
        // modules.dep names all that is needed, the last to be loaded first.
        for needed in needs.iter().rev() {
            self.visit(needed, order)?;
        }
        order.push(path);
        Ok(())
    }
}

/// One line of modules.dep: `path: path path …`.
fn parse_line(line: &str) -> Option<(String, (String, Vec<String>))> {
    let (path, needs) = line.split_once(':')?;
    let needs = needs.split_whitespace().map(module_name).collect();
    Some((module_name(path), (path.to_owned(), needs)))
}

/// `kernel/drivers/md/dm-mod.ko` is the module `dm_mod`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", folder.display()))??;
    Ok(first.path())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_modules_dep() {
        let (name, (path, needs)) =
            parse_line("kernel/md/dm-multipath.ko: kernel/md/dm-mod.ko kernel/dh/a-b.ko").unwrap();
        assert_eq!(name, "dm_multipath");
        assert_eq!(path, "kernel/md/dm-multipath.ko");
        assert_eq!(needs, ["dm_mod", "a_b"]);
    }
}
