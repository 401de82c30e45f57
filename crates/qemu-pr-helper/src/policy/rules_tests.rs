use std::path::Path;

use scsi_persistent_reservations::{InAction, OutAction, PersistentReserveIn, PersistentReserveOut};

use super::*;
use crate::config::settings::SystemUsers;

#[derive(Clone)]
struct Known {
    user: u32,
    command: Command,
    device: Identity,
    groups: Option<Vec<u32>>,
    control_group: Option<String>,
    context: Option<String>,
    names: Option<Aliases>,
}

impl Facts for Known {
    fn user(&self) -> u32 {
        self.user
    }

    fn command(&self) -> Command {
        self.command
    }

    fn device(&self) -> Identity {
        self.device
    }

    fn groups(&self) -> Option<Vec<u32>> {
        self.groups.clone()
    }

    fn control_group(&self) -> Option<String> {
        self.control_group.clone()
    }

    fn context(&self) -> Option<String> {
        self.context.clone()
    }

    fn names(&self) -> Option<Aliases> {
        self.names.clone()
    }
}

/// QEMU as libvirt starts it, and wants to CLEAR a disk.
fn qemu() -> Known {
    let names = ["sdb", "8:16", "wwn-0x6001405abc", "mpatha"].map(str::to_owned).to_vec();
    Known {
        user: 107,
        command: PersistentReserveOut::new(OutAction::Clear, None, 24).cdb().command(),
        device: Identity { kind: Kind::Block, device: rustix::fs::makedev(8, 16) },
        groups: Some(vec![107, 36]),
        control_group: Some("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator".to_owned()),
        context: Some("system_u:system_r:svirt_t:s0:c1,c2".to_owned()),
        names: Some(Aliases { names, paths: Some(0), is_complete: true }),
    }
}

fn rules(text: &str) -> Settings {
    Settings::parse(Path::new("test"), text, &SystemUsers, crate::config::cli::check).unwrap()
}

/// Whether a rule with these conditions, which denies, is about it; `Err` with what is missing.
fn fits(conditions: &str, facts: &Known) -> Result<bool, &'static str> {
    let settings = rules(&format!("[[rule]]\ndecision = \"deny\"\n{conditions}"));
    match decide(&settings, facts) {
        PolicyDecision::Denied(Some("rule 1")) => Ok(true),
        PolicyDecision::Allowed(None) => Ok(false),
        PolicyDecision::Unknown("rule 1", what) => Err(what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_condition_fits_what_it_names_and_nothing_else() {
    let rows = [
        ("", true),
        ("user = [107]", true),
        ("user = [1, 2]", false),
        ("user = [\"root\"]", false),
        ("group = [36]", true),
        ("group = [37]", false),
        ("unit = [\"machine-qemu*web.scope\"]", true),
        ("unit = [\"machine-qemu*db.scope\"]", false),
        ("unit = [\"/machine.slice/machine-qemu*web.scope\"]", true),
        ("unit = [\"/machine.slice/*\"]", true),
        ("unit = [\"/machine.slice/*/libvirt/emulator\"]", false),
        ("unit = [\"/system.slice/*\"]", false),
        ("unit = [\"emulator\"]", false),
        ("selinux = [\"*:svirt_t:*\"]", true),
        ("selinux = [\"svirt_t\"]", false),
        ("device = [\"wwn-0x6001405*\"]", true),
        ("device = [\"8:16\"]", true),
        ("device = [\"sda\", \"mpath?\"]", true),
        ("device = [\"sd\"]", false),
        ("action = [\"CLEAR\"]", true),
        ("action = [\"change\"]", true),
        ("action = [\"read\", \"RELEASE\"]", false),
        ("user = [107]\naction = [\"CLEAR\"]\ndevice = [\"sdb\"]", true),
        ("user = [107]\naction = [\"CLEAR\"]\ndevice = [\"sdc\"]", false),
    ];
    for (conditions, wanted) in rows {
        assert_eq!(fits(conditions, &qemu()), Ok(wanted), "{conditions}");
    }
    let read = Known { command: PersistentReserveIn::new(InAction::ReadKeys, 8).cdb().command(), ..qemu() };
    for (action, wanted) in [("read", true), ("READ KEYS", true), ("READ RESERVATION", false), ("change", false)] {
        assert_eq!(fits(&format!("action = [\"{action}\"]"), &read), Ok(wanted), "{action}");
    }
    let nameless = PersistentReserveOut { service_action: 0x1f, scope_type: 0, parameter_list_length: 24 };
    let nameless = Known { command: nameless.cdb().command(), ..qemu() };
    assert_eq!(fits("action = [\"change\"]", &nameless), Ok(true));
}

#[test]
fn what_cannot_be_found_out_is_not_guessed() {
    let blind = Known { groups: None, control_group: None, context: None, names: None, ..qemu() };
    let rows = [
        ("group = [36]", "the client's groups"),
        ("unit = [\"*\"]", "the client's unit"),
        ("selinux = [\"*\"]", "the client's security context"),
        ("device = [\"sdb\"]", "the names of the disk"),
    ];
    for (conditions, what) in rows {
        assert_eq!(fits(conditions, &blind), Err(what));
        assert_eq!(fits(&format!("user = [1]\n{conditions}"), &blind), Ok(false), "the user rules it out");
    }
    assert_eq!(fits("device = [\"8:16\"]", &blind), Ok(true), "the number is known without asking");
    assert_eq!(fits("unit = [\"*\"]\ndevice = [\"sdc\"]", &Known { control_group: None, ..qemu() }), Ok(false));

    let some =
        Known { names: Some(Aliases { names: vec!["sdb".into()], paths: Some(0), is_complete: false }), ..qemu() };
    assert_eq!(fits("device = [\"sdb\"]", &some), Ok(true));
    assert_eq!(fits("device = [\"wwn-*\"]", &some), Err("all names of the disk"));
    let file = Known { device: Identity { kind: Kind::File, ..blind.device }, ..blind };
    assert_eq!(fits("device = [\"*\"]", &file), Ok(false));
}

#[test]
fn a_unit_that_a_process_made_for_itself_does_not_count() {
    let inner = r"/system.slice/tenant.service/machine.slice/machine-qemu\x2d1\x2dweb.scope";
    let tenant = Known { control_group: Some(inner.to_owned()), ..qemu() };
    assert_eq!(fits("unit = [\"machine-*\"]", &tenant), Ok(false));
    assert_eq!(fits("unit = [\"tenant.service\"]", &tenant), Ok(true));
    for pattern in ["/system.slice/*.scope", "/system.slice/*/machine-*", "/system.slice/*/machine.slice/*"] {
        assert_eq!(fits(&format!("unit = [\"{pattern}\"]"), &tenant), Ok(false), "{pattern}");
    }
}

#[test]
fn a_process_in_no_unit_of_the_systems_manager_is_neither_allowed_nor_cleared_of_being_denied() {
    let allowing =
        |unit: &str| rules(&format!("default = \"deny\"\n[[rule]]\nunit = [\"{unit}\"]\n[[rule]]\nuser = [0]"));
    for path in ["/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "/kubepods/pod1", "/"] {
        let user = Known { control_group: Some(path.to_owned()), ..qemu() };
        let what = "the client's unit below /machine.slice or /system.slice";
        assert_eq!(fits("unit = [\"*\"]", &user), Err(what), "{path}");
        assert_eq!(fits("unit = [\"*\"]\nuser = [1]", &user), Ok(false), "the user rules it out");
        assert_eq!(decide(&allowing("*"), &user), PolicyDecision::Denied(None), "{path}");
        let root = Known { user: 0, ..user };
        assert_eq!(decide(&allowing("*"), &root), PolicyDecision::Allowed(None), "another rule is about that one");
    }
}

#[test]
fn the_first_rule_that_fits_decides_and_otherwise_the_default() {
    let settings = rules(
        "default = \"deny\"
         [[rule]]
         name = \"not these\"
         action = [\"PREEMPT\"]
         decision = \"deny\"
         [[rule]]
         name = \"tenant\"
         user = [107]
         keys = { prefix = 1, bits = 8 }
         [[rule]]
         name = \"never\"
         user = [107]
         decision = \"deny\"",
    );
    let limit = KeyLimit { value: 1 << 56, mask: 0xff << 56, own_nexus: false };
    assert_eq!(decide(&settings, &qemu()), PolicyDecision::Allowed(Some((limit, "tenant"))));
    let preempt = PersistentReserveOut::new(OutAction::Preempt, None, 24).cdb().command();
    assert_eq!(decide(&settings, &Known { command: preempt, ..qemu() }), PolicyDecision::Denied(Some("not these")));
    assert_eq!(decide(&settings, &Known { user: 1, ..qemu() }), PolicyDecision::Denied(None));
    assert_eq!(decide(&rules(""), &qemu()), PolicyDecision::Allowed(None));
}
