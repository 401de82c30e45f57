//! apt, with the host's own sources or with those of another suite or architecture.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, target};

/// The keys of every Debian suite. apt itself depends on their package.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a kernel consists of: one package until Debian 13, several since.
const KERNEL_PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];

/// apt with one set of sources.
pub struct Apt {
    /// What it is called with, every time.
    options: Vec<OsString>,
    /// Which suite and architecture, if not the host's own.
    foreign: Option<String>,
}

impl Apt {
    /// The host's own sources.
    pub fn host() -> Self {
        // Downloads land in directories that apt's own sandbox user cannot write.
        Self { options: vec!["-o".into(), "APT::Sandbox::User=root".into()], foreign: None }
    }

    /// Another suite or architecture, from the mirror that the host uses. Its sources, lists and cache are below the
    /// target directory: the host's apt never sees them.
    pub fn suite(suite: &str, architecture: &str) -> Result<Self> {
        let state = target().join("apt").join(format!("{suite}-{architecture}"));
        let (sources, lists, cache) = (state.join("sources.list"), state.join("lists"), state.join("cache"));
        for directory in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        }
        if !fs::exists(&sources)? {
            fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?))?;
        }
        let mut apt = Self::host();
        let mut option = |name: &str, value: OsString| {
            let mut option = OsString::from(format!("{name}="));
            option.push(value);
            apt.options.extend(["-o".into(), option]);
        };
        option("Dir::Etc::sourcelist", sources.into());
        option("Dir::Etc::sourceparts", "-".into());
        option("Dir::Etc::preferences", "-".into());
        option("Dir::Etc::preferencesparts", "-".into());
        option("Dir::State::lists", lists.into());
        option("Dir::State::status", "/dev/null".into());
        option("Dir::Cache", cache.into());
        option("APT::Architecture", architecture.into());
        option("APT::Architectures", architecture.into());
        option("Acquire::Languages", "none".into());
        // Testing and unstable are signed for a week. A mirror may be older, and a clock may be wrong.
        option("Acquire::Check-Valid-Until", "false".into());
        apt.foreign = Some(format!(" of {suite} for {architecture}"));
        Ok(apt)
    }

    /// How a message goes on that names packages.
    pub fn suffix(&self) -> &str {
        self.foreign.as_deref().unwrap_or_default()
    }

    /// `apt-get`, to be told what to do.
    pub fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(&self.options);
        command
    }

    /// Refreshes the package lists. A foreign source that does not answer must not stop a test run that does not need it,
    /// so failure shows only if the package that is wanted next is still unknown.
    pub fn update(&self) {
        if let Err(error) = output(self.get().args(["update", "-qq"])) {
            eprintln!("{error:#}");
        }
    }

    /// The packages that names stand for: an empty kernel package stands for the packages of that kernel, and a name with a
    /// plus sign for itself and all that it depends on.
    pub fn behind(&self, names: &[&str]) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for name in names {
            if name.starts_with("linux-image-") {
                all.extend(self.kernel(name)?);
            } else if let Some(name) = name.strip_suffix('+') {
                all.extend(self.with_dependencies(name)?);
            } else {
                all.push((*name).to_owned());
            }
        }
        Ok(all)
    }

    /// A package and all that it depends on.
    fn with_dependencies(&self, name: &str) -> Result<Vec<String>> {
        let mut cache = Command::new("apt-cache");
        let depends = output(cache.args(&self.options).args(["depends", "--important", "--recurse", name]))?;
        // What a package depends on is indented; each has a line of its own as well, and so have virtual ones.
        let own_line = |name: &&str| !name.starts_with([' ', '<']);
        Ok(depends.lines().filter(own_line).map(str::to_owned).collect())
    }

    /// The packages of the kernel behind an empty package.
    fn kernel(&self, empty: &str) -> Result<Vec<String>> {
        let parts = self.with_dependencies(empty)?;
        let parts = parts.into_iter().filter(|name| {
            KERNEL_PARTS.iter().any(|part| name.strip_prefix(part).is_some_and(|rest| rest.contains(char::is_numeric)))
        });
        let parts: Vec<String> = parts.filter(|name| name != empty).collect();
        if parts.is_empty() {
            bail!("apt-cache names no kernel behind {empty}");
        }
        Ok(parts)
    }
}

/// The Debian mirror that the host's apt uses, wherever it is configured.
pub fn mirror() -> Result<String> {
    let format = "$(LABEL) $(REPO_URI)";
    let find = || -> Result<Option<String>> {
        let targets =
            output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        Ok(targets.lines().find_map(|line| line.strip_prefix("Debian ")).map(str::to_owned))
    };
    if let Some(mirror) = find()? {
        return Ok(mirror);
    }
    // A source whose lists were never fetched has no label.
    Apt::host().update();
    find()?.context("apt has no source of Debian's main archive; add one to /etc/apt/sources.list.d")
}
