//! QEMU's own helper, built with multipath: Debian's is built without, so its source package is built here once, in a
//! Debian of its own that is thrown away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages;
use pr_dev::workspace::{run, target};

const SUITE: &str = "bookworm";

/// What it is built with.
const TOOLS: &str = "gcc,libc6-dev,xz-utils,ninja-build,meson,python3-venv,pkg-config,make,libglib2.0-dev,libudev-dev,libcap-ng-dev,multipath-tools";

/// What is done in there. QEMU's source package lacks firmware, which is not asked for; multipath-tools has no package for
/// development, but its header files and its library are all that is needed.
const SCRIPT: &str = "\
set -e
mkdir /build
cd /build
apt-get source --download-only -qq qemu multipath-tools
tar xf qemu_*.orig.tar.xz
tar xf multipath-tools_*.orig.tar.gz
mkdir include
cp multipath-tools-*/libmpathpersist/mpath_persist.h multipath-tools-*/libmpathcmd/mpath_cmd.h include/
mkdir out
cd out
../qemu-*/configure --target-list= --without-default-features --disable-system --disable-user --disable-docs \
    --disable-install-blobs --enable-tools --enable-mpath --enable-libudev --enable-cap-ng \
    --extra-cflags=-I/build/include --extra-ldflags=-L/lib >configure.log
ninja --quiet qemu-pr-helper
";

const FOLDER: &str = "bed/c-helper";

/// Where it is, once it is built.
pub fn place() -> PathBuf {
    target().join(FOLDER).join("qemu-pr-helper")
}

/// The program, built if need be (ten minutes).
///
/// # Errors
/// The sources cannot be had or built; mmdebstrap needs root.
pub fn program() -> Result<PathBuf> {
    let program = place();
    if fs::exists(&program)? {
        return Ok(program);
    }
    let folder = target().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let script = folder.join("build.sh");
    fs::write(&script, SCRIPT)?;
    let unfinished = folder.join("unfinished");
    println!("building QEMU's helper with multipath");
    let mirror = packages::mirror()?;
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=apt", &format!("--include={TOOLS}")])
        .arg(format!("--customize-hook=copy-in {} /", script.display()))
        .arg("--customize-hook=chroot \"$1\" sh /build.sh")
        .arg(format!("--customize-hook=download /build/out/qemu-pr-helper {}", unfinished.display()))
        .args([SUITE, "/dev/null"])
        .args(["deb", "deb-src"].map(|kind| format!("{kind} {mirror} {SUITE} main"))))?;
    // What mmdebstrap fetches from its chroot is nobody's to execute.
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished, &program)?;
    Ok(program)
}
