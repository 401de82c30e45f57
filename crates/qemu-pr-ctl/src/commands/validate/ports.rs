//! Which initiator ports the disk knows this host by, and whether each path of a map is registered.
//!
//! Nothing of this shows with a simulated disk: it is about what sysfs says.

use std::path::{Path, PathBuf};

use pr_conformance::{
    Command, Expect,
    Initiator::{self, One, Two},
    Initiators, Step, StepReport, Verdict,
};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{InAction, PrOut, ReservationKey, Status};

use super::runner::Runner;
use crate::{error::Error, target::host};

/// The name that it has in the report.
pub const NAME: &str = "ports-and-paths";

/// What is known of this host: the port of each node, and the paths of the first one if it is a map of several.
pub struct Known {
    ports: Vec<(Initiator, String)>,
    paths: Vec<PathBuf>,
}

/// What a step does.
pub enum Check {
    /// A step like any other.
    Step,
    /// The disk has the node's registration under this port.
    Port(String),
    /// The path has the key of node 1.
    Path(PathBuf),
}

impl Known {
    /// What sysfs says of the devices.
    pub fn of<'a>(devices: impl IntoIterator<Item = &'a Path>) -> Self {
        let devices: Vec<&Path> = devices.into_iter().collect();
        let nodes = [One, Two].into_iter().zip(&devices);
        let ports = nodes.filter_map(|(node, device)| Some((node, host::initiator(device)?))).collect();
        let paths = devices.first().and_then(|device| host::path_devices(device)).unwrap_or_default();
        Self { ports, paths: if paths.len() > 1 { paths } else { Vec::new() } }
    }

    /// The ports of both nodes, if they are known and not the same.
    pub fn different(&self) -> Option<String> {
        match &self.ports[..] {
            [(_, one), (_, two)] if one != two => Some(format!("{one} and {two}")),
            _ => None,
        }
    }

    /// The steps; none if nothing is known.
    pub fn steps(&self, initiators: Initiators) -> Vec<(Step, Check)> {
        let Self { ports, paths } = self;
        if ports.is_empty() && paths.is_empty() {
            return Vec::new();
        }
        let register = |initiator, key| {
            let command = Command::Change(PrOut::register(ReservationKey::ZERO, key));
            (Step { initiator, name: "registers", command, expect: Expect::Good }, Check::Step)
        };
        let mut steps = vec![register(One, initiators.one)];
        if initiators.pair {
            steps.push(register(Two, initiators.two));
        }
        let status = || Command::Read(InAction::ReadFullStatus, 8192);
        steps.extend(ports.iter().map(|(initiator, port)| {
            let step =
                Step { initiator: *initiator, name: "is known by its port", command: status(), expect: Expect::Good };
            (step, Check::Port(port.clone()))
        }));
        let again = || Command::Change(PrOut::register(initiators.one, initiators.one));
        steps.extend(paths.iter().map(|path| {
            let step = Step { initiator: One, name: "has its key on a path", command: again(), expect: Expect::Good };
            (step, Check::Path(path.clone()))
        }));
        steps
    }
}

/// Runs a step.
pub fn run(runner: &mut Runner<'_>, step: &Step, check: &Check, key: ReservationKey) -> StepReport {
    match check {
        Check::Step => runner.run(step),
        Check::Port(port) => compare(port, runner.registered_ports(step.initiator, key)),
        Check::Path(path) => has_key(path, runner.register_on(path, key)),
    }
}

/// A path that has the key lets it register itself again, and one that has not does not. One that is away is another matter.
fn has_key(path: &Path, reply: Result<Reply, Error>) -> StepReport {
    let verdict = match reply.as_ref().map(|reply| reply.status) {
        Ok(Status::GOOD) => Verdict::Ok,
        Ok(Status::RESERVATION_CONFLICT) => Verdict::Failed,
        _ => Verdict::Remark,
    };
    let answer = reply.map_or_else(|error| error.to_string(), |reply| reply.to_string());
    let received = format!("{}: {answer}", path.display());
    StepReport { verdict, expected: format!("{}: GOOD", path.display()), received, attentions: Vec::new() }
}

/// A port that is known by another name to the disk is none that software fails for.
fn compare(port: &str, registered: Result<Vec<String>, Error>) -> StepReport {
    let (is_known, received) = match registered {
        Ok(ports) => (ports.iter().any(|other| other.eq_ignore_ascii_case(port)), ports.join(" ")),
        Err(error) => (false, error.to_string()),
    };
    let verdict = if is_known { Verdict::Ok } else { Verdict::Remark };
    let received = if received.is_empty() { "no registration".to_owned() } else { received };
    StepReport { verdict, expected: port.to_owned(), received, attentions: Vec::new() }
}

/// What is to be said of registrations of iSCSI sessions that this host has no more: commands of this host conflict with its
/// own reservation.
pub fn stale(registered: &[(ReservationKey, String)], sessions: &[String]) -> String {
    let gone = registered.iter().filter(|(_, port)| host::is_gone(port, sessions));
    gone.fold(String::new(), |text, (key, port)| {
        text + &format!("; {key} is that of {port}, an iSCSI session that this host no longer has")
    })
}

#[cfg(test)]
mod tests {
    use scsi_persistent_reservations::Sense;

    use super::*;

    const HERE: [&str; 2] = ["iqn.2024-01.test:a,i,0x00023d000005", "iqn.2024-01.test:a,i,0x00023d000006"];

    #[test]
    fn a_session_of_this_host_that_is_gone_is_named() {
        let sessions = HERE.map(str::to_owned);
        let stale = |port: &str| stale(&[(ReservationKey(0xa), port.to_owned())], &sessions);
        assert_eq!(
            stale("iqn.2024-01.test:a,i,0x00023d000004"),
            "; 0xa is that of iqn.2024-01.test:a,i,0x00023d000004, an iSCSI session that this host no longer has"
        );
        for port in [
            HERE[0],
            HERE[1],
            "IQN.2024-01.test:a,i,0x00023D000005",
            "iqn.2024-01.test:b,i,0x00023d000004",
            // An adapter that logs in by itself has the same initiator, and sessions that nobody else knows.
            "iqn.2024-01.test:a,i,0x400000000001",
            "iqn.2024-01.test:a",
            "sas:0x5",
        ] {
            assert_eq!(stale(port), "", "{port}");
        }
    }

    #[test]
    fn a_port_that_the_disk_knows_by_another_name_is_a_remark() {
        let verdict = |registered: &[&str]| {
            let report = compare(HERE[0], Ok(registered.iter().map(|&port| port.to_owned()).collect()));
            (report.verdict, report.received)
        };
        assert_eq!(verdict(&HERE[..1]).0, Verdict::Ok);
        assert_eq!(verdict(&HERE).0, Verdict::Ok, "each path of a map has one");
        assert_eq!(verdict(&HERE[1..]), (Verdict::Remark, HERE[1].to_owned()));
        assert_eq!(verdict(&[]), (Verdict::Remark, "no registration".to_owned()));
    }

    #[test]
    fn a_path_without_the_key_fails_and_one_that_is_away_is_a_remark() {
        let path = Path::new("/dev/sdb");
        let reply = |status| Ok(Reply { status, sense: Sense::NONE, data: Vec::new() });
        assert_eq!(has_key(path, reply(Status::GOOD)).verdict, Verdict::Ok);
        let report = has_key(path, reply(Status::RESERVATION_CONFLICT));
        assert_eq!((report.verdict, report.received.as_str()), (Verdict::Failed, "/dev/sdb: RESERVATION CONFLICT"));
        assert_eq!(has_key(path, reply(Status::BUSY)).verdict, Verdict::Remark);
        assert_eq!(has_key(path, Err(Error::NoInitiator)).verdict, Verdict::Remark);
    }

    #[test]
    fn each_port_and_each_path_is_a_step() {
        let [one, two] = [1, 2].map(ReservationKey);
        let ports = vec![(One, HERE[0].to_owned()), (Two, HERE[1].to_owned())];
        let known = Known { ports, paths: ["/dev/sda", "/dev/sdb"].map(PathBuf::from).to_vec() };
        assert_eq!(known.steps(Initiators::new(one, two, true)).len(), 6);
        assert_eq!(known.different(), Some(HERE.join(" and ")));
        let nothing = Known::of([Path::new("/dev/null"), Path::new("/")]);
        assert!(nothing.steps(Initiators::new(one, two, true)).is_empty() && nothing.different().is_none());
    }
}
