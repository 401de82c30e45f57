//! A new user's way: on a fresh Debian somebody follows the manual from its first page to its last, word for word.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use e2e::page::{self, Place, Run, Step};
use e2e::session::Session;

use crate::host::domain::{self, Domain};
use crate::lun::Loopback;
use crate::report::{Report, remark};
use crate::wait;

/// The pages, and the package.
const FOLDER: &str = "/bed/manual";

/// The guest that the manual speaks of.
const GUEST: &str = "web1";

/// udev and multipathd are busy with the start of the host.
const PATIENCE: Duration = Duration::from_secs(120);

/// Follows every page that has something to do on a host.
pub fn run(report: &mut Report) -> Result<()> {
    // Where LIO keeps registrations that are to persist.
    fs::create_dir_all("/var/target/pr")?;
    // The disk of the manual by two initiators, and one that multipathd makes a map of.
    let _luns = Loopback::set_up(2)?;
    domain::prepare()?;
    let guest = Domain::start_bare(GUEST)?;
    remark("the guest boots");
    wait::until("a map of the second disk", PATIENCE, || Ok(fs::exists("/dev/mapper/mpatha")?.then_some(())))?;
    let mut reader = Reader { shell: Shell::start()?, guest };
    reader.guest.wake()?;
    let mut commands = 0;
    for name in page::contents(&fs::read_to_string(Path::new(FOLDER).join("SUMMARY.md"))?) {
        let text = fs::read_to_string(Path::new(FOLDER).join(&name))?;
        let steps = page::steps(&text).map_err(Error::msg)?;
        for (index, step) in steps.iter().enumerate() {
            commands += usize::from(reader.does(report, &name, step, steps.get(index + 1)));
        }
    }
    remark(&format!("{commands} commands of the manual were typed"));
    // Nobody is left without commands by a change of the marks.
    report.check("the manual has commands for a host and for a guest", || {
        ensure!(commands > 30, "there are {commands}");
        Ok(())
    });
    Ok(())
}

/// Somebody with a shell on the host and one in the guest.
struct Reader {
    shell: Shell,
    guest: Domain,
}

impl Reader {
    /// Does what stands there, if it is for a host; whether it was a command.
    fn does(&mut self, report: &mut Report, page: &str, step: &Step, next: Option<&Step>) -> bool {
        match step {
            Step::Write { place: Place::Host, path, text } => {
                report.check(&format!("{page}: {path} is written"), || {
                    fs::write(Path::new("/root").join(path), text).with_context(|| path.clone())
                });
                false
            }
            Step::Run(run) if matches!(run.place, Place::Host | Place::Guest) => {
                let name = format!("{page}:{}: {}", run.line, run.command.replace('\n', " "));
                report.check(&name, || self.types(run, next));
                true
            }
            Step::Run(_) | Step::Write { .. } => false,
        }
    }

    fn types(&mut self, run: &Run, next: Option<&Step>) -> Result<()> {
        let (status, printed) = match run.place {
            Place::Guest => self.guest.types(&run.command)?,
            _ => self.shell.session.run(&run.command).map_err(Error::msg)?,
        };
        let objection = run.objection(&printed);
        ensure!(objection.is_none(), "{}", objection.unwrap_or_default());
        let asked = matches!(next, Some(Step::Run(next)) if next.asks_for_status());
        ensure!(status == 0 || asked, "its exit status is {status}: {printed}");
        Ok(())
    }
}

/// root's shell.
struct Shell {
    process: Child,
    session: Session,
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The machine ends with it anyway.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Shell {
    /// A shell as after a login, in a folder with the package.
    fn start() -> Result<Self> {
        let (screen, printed) = io::pipe()?;
        let mut process = Command::new("/bin/bash")
            .current_dir("/root")
            .env_clear()
            .envs([("HOME", "/root"), ("LC_ALL", "C.UTF-8"), ("TERM", "dumb")])
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()
            .context("bash cannot be started")?;
        let keyboard = process.stdin.take().context("its standard input is no pipe")?;
        let mut session = Session::new(keyboard, File::from(OwnedFd::from(screen)));
        session.run(&format!("cp {FOLDER}/*.deb .")).map_err(Error::msg)?;
        Ok(Self { process, session })
    }
}
