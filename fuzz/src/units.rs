//! The unit of a process, by the text of its `/proc/PID/cgroup` and by the path in it. Whoever may make control groups
//! chooses a part of either.

use qemu_pr_helper::fuzzing::{self, Glob};

/// The slices whose units count.
const SLICES: [&str; 2] = ["/machine.slice/", "/system.slice/"];

/// One run: lines, or a path, or a pattern and a path.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(path) = fuzzing::control_group(text) {
        let says = |field: &str| text.lines().any(|line| line.split_once(field) == Some(("", path)));
        let systemds = |line: &str| line.split(':').nth(1) == Some("name=systemd") && line.ends_with(path);
        assert!(says("0::") || text.lines().any(systemds), "{path:?} is in none of the lines");
        of_path(path);
    }
    of_path(text);
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "/machine.slice/a.scope"));
    let fits = Glob::new(pattern.to_owned()).matches_path(path);
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    assert!(!fits || slashes(pattern) == slashes(path), "something stands for a slash");
    // Where there is no slash to be crossed it is a pattern like any other.
    let (pattern, path) = (pattern.replace('/', ""), path.replace('/', ""));
    let pattern = Glob::new(pattern);
    assert_eq!(pattern.matches_path(&path), pattern.matches(&path));
}

fn of_path(path: &str) {
    let vm = fuzzing::vm(path);
    let Some(unit) = fuzzing::unit(path) else {
        assert_eq!(vm, None, "a virtual machine without a unit");
        return;
    };
    assert!(path.starts_with(unit) && (path.len() == unit.len() || path[unit.len()..].starts_with('/')));
    let slice = SLICES.iter().find(|slice| unit.starts_with(**slice)).expect("one of the slices");
    assert!([".service", ".scope"].iter().any(|kind| unit.ends_with(kind)), "{unit}");
    let (name, above) = unit.rsplit_once('/').map(|(above, name)| (name, above)).expect("a slash");
    assert!(
        above.split('/').skip(1).all(|part| part.strip_suffix(".slice").is_some()),
        "somebody else's folder in {unit}"
    );
    assert_eq!(fuzzing::unit(unit), Some(unit));
    // Whatever is made in it, and whatever it is made in.
    for below in ["/", "/a.scope", "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope", "/x/y.service/z"] {
        let path = format!("{unit}{below}");
        assert_eq!((fuzzing::unit(&path), fuzzing::vm(&path)), (Some(unit), vm.clone()));
    }
    for around in ["/lxc.payload.x", "/user.slice/user-1.slice/user@1.service", "/docker/1", "x", "/", "/.."] {
        let path = format!("{around}{path}");
        assert_eq!((fuzzing::unit(&path), fuzzing::vm(&path)), (None, None), "{path}");
    }
    if vm.is_some() {
        assert_eq!(format!("{slice}{name}"), unit, "a machine's scope is directly below the slice");
        assert_eq!(*slice, SLICES[0]);
    }
}
