use std::collections::BTreeSet;

use proptest::prelude::*;

use scsi_persistent_reservations::{InAction, OutAction, ReservationKey};

use super::{
    types::{Action, Devices, Limits},
    *,
};
use crate::config::cli;

/// A system with one user and one group.
struct One;

impl UserDb for One {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "libvirt-qemu").then_some(64055)
    }

    fn group(&self, name: &str) -> Option<u32> {
        match name {
            "adm" => Some(4),
            "kvm" => Some(104),
            _ => None,
        }
    }
}

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(Path::new("/etc/p.toml"), text, &One, cli::check)
}

#[test]
fn nothing_written_is_nothing_limited() {
    assert_eq!(parse("").unwrap(), Settings::default());
    assert_eq!(Settings::default().default, Decision::Allow);
}

#[test]
fn every_key_means_what_it_says() {
    let text = r#"
        default = "deny"
        [defaults]
        verbose = false
        quiet = true
        log-format = "journal"
        max-connections = 64
        request-timeout = 2.5
        command-timeout = 60
        drain-timeout = 10
        audit = "on"
        audit-keys = "hash"
        control = "/run/prh/%s"
        control-group = "kvm"
        sandbox = "log"
        [devices]
        parts = "allow"
        single-path-reservations = "deny"
        [limits]
        connections-per-user = 64
        connections-per-process = 16
        requests-per-second = 500
        burst = 1000
        commands-per-device = 8
        [[rule]]
        name = "tenant a"
        user = ["libvirt-qemu", 107, "108"]
        group = ["kvm"]
        unit = ["machine-qemu*web*.scope"]
        selinux = ["*:svirt_t:*"]
        device = ["wwn-0x6001405*", "8:16"]
        action = ["clear", "Preempt-and_abort", "READ", "change", "read keys"]
        keys = { prefix = "0xa1", bits = 8, own-nexus = true }
        [[rule]]
        decision = "deny"
    "#;
    let settings = parse(text).unwrap();
    let glob = |text: &str| Glob::new(text.to_owned());
    let first = Rule {
        name: "tenant a".into(),
        users: Some(vec![64055, 107, 108]),
        groups: Some(vec![104]),
        units: Some(vec![glob("machine-qemu*web*.scope")]),
        contexts: Some(vec![glob("*:svirt_t:*")]),
        devices: Some(vec![glob("wwn-0x6001405*"), glob("8:16")]),
        actions: Some(vec![
            Action::Out(OutAction::Clear),
            Action::Out(OutAction::PreemptAndAbort),
            Action::Read,
            Action::Change,
            Action::In(InAction::ReadKeys),
        ]),
        decision: Decision::Allow,
        keys: Some(KeyLimit { value: 0xa1 << 56, mask: 0xff << 56, own_nexus: true }),
    };
    let second = Rule { name: "rule 2".into(), decision: Decision::Deny, ..Rule::default() };
    assert_eq!(settings.rules, [first, second]);
    assert_eq!(settings.default, Decision::Deny);
    let limits = Limits {
        connections_per_user: Some(64),
        connections_per_process: Some(16),
        requests_per_second: Some(500),
        burst: Some(1000),
        commands_per_device: Some(8),
    };
    assert_eq!(settings.limits, limits);
    let devices = Devices { parts: Decision::Allow, single_path_reservations: Decision::Deny };
    assert_eq!(settings.devices, devices);
    let arguments: Vec<_> = settings.defaults.arguments(&BTreeSet::new()).collect();
    let all = [
        "--quiet",
        "--log-format=journal",
        "--max-connections=64",
        "--request-timeout=2.5",
        "--command-timeout=60",
        "--drain-timeout=10",
        "--audit=on",
        "--audit-keys=hash",
        "--control=/run/prh/%s",
        "--control-group=104",
        "--sandbox=log",
    ];
    assert_eq!(arguments, all);
}

#[test]
fn parts_of_disks_may_not_be_changed_unless_it_is_said() {
    let devices = |text: &str| parse(text).unwrap().devices;
    assert_eq!(devices("").parts, Decision::Deny);
    assert_eq!(devices("").single_path_reservations, Decision::Allow);
    assert_eq!(devices("default = \"allow\"\n[devices]\nsingle-path-reservations = \"deny\"").parts, Decision::Deny);
    assert_eq!(devices("[devices]\nparts = \"allow\"").parts, Decision::Allow);
}

#[test]
fn the_command_line_decides_about_what_is_on_it() {
    let defaults = parse("[defaults]\nquiet = true\naudit = \"off\"\nsandbox = \"log\"").unwrap().defaults;
    let left = |given: &[&str]| {
        let given = given.iter().map(ToString::to_string).collect();
        defaults.arguments(&given).map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(left(&["socket"]), ["--quiet", "--audit=off", "--sandbox=log"]);
    assert_eq!(left(&["audit"]), ["--quiet", "--sandbox=log"]);
    // More words, or fewer: that is one question.
    assert_eq!(left(&["verbose", "sandbox"]), ["--audit=off"]);
}

#[test]
fn keys_are_limited_by_prefix_or_by_mask() {
    let limit = |keys: &str| parse(&format!("[[rule]]\nkeys = {{ {keys} }}")).unwrap().rules[0].keys.unwrap();
    let key = |number| ReservationKey(number);
    assert!(limit("prefix = 0xa1, bits = 8").contains(key(0xa1ff_ffff_ffff_ffff)));
    assert!(!limit("prefix = 0xa1, bits = 8").contains(key(0xa200_0000_0000_0000)));
    assert!(limit("prefix = \"0xffffffffffffffff\", bits = 64").contains(key(u64::MAX)));
    assert!(!limit("prefix = 1, bits = 64").contains(key(2)));
    let odd = limit("value = \"0x1\", mask = \"0x1\"");
    assert!(odd.contains(key(3)) && !odd.contains(key(2)));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_its_remedy() {
    let rows = [
        ("default = \"maybe\"", "1:11", "expected `allow` or `deny`"),
        ("x = 1", "1:1", "correct or remove it (the line is: x = 1)"),
        ("\n[limits]\nburst = ", "3:9", "see qemu-pr-helper.toml(5)"),
        ("[limits]\nburst = 5", "2:9", "add that, or remove burst"),
        ("[limits]\nrequests-per-second = 0", "2:23", "remove the line"),
        ("[limits]\ncommands-per-device = -1", "2:23", "between 1 and 1000000"),
        ("[limits]\ncommands-per-device = 1.5", "2:23", "expected i64"),
        ("[devices]\nparts = true", "2:9", "wanted string"),
        ("[devices]\npart = \"allow\"", "2:1", "correct or remove it"),
        ("[[rule]]\nuser = \"root\"", "2:8", "put it in brackets"),
        ("[[rule]]\nuser = [\"libvirt-qemu\", \"bogus\"]", "2:25", "no user \"bogus\" on this system; create it"),
        ("[[rule]]\ngroup = [true]", "2:10", "expected a name or a number"),
        ("[[rule]]\nuser = [4294967295]", "2:9", "the range is 0 to"),
        ("[[rule]]\nuser = []", "2:8", "remove the line"),
        ("[[rule]]\nunit = [\"\"]", "2:9", "1 to 512 bytes"),
        ("[[rule]]\nunit = [\"*/libvirt/emulator\"]", "2:9", "begins with /machine.slice/ or /system.slice/"),
        ("[[rule]]\nunit = [\"/user.slice/*\"]", "2:9", "begins with /machine.slice/ or /system.slice/"),
        ("[[rule]]\nunit = [\"/machine.slicex/*\"]", "2:9", "begins with /machine.slice/ or /system.slice/"),
        ("[[rule]]\ndevice = [\"/dev/sdb\"]", "2:11", "write the name alone"),
        ("[[rule]]\naction = [\"CLAER\"]", "2:11", "valid actions: READ, CHANGE, READ KEYS"),
        ("[[rule]]\nname = \"\"", "2:8", "1 to 64 printable"),
        ("[[rule]]\nname = \"a\\u001b\"", "2:8", "printable"),
        ("[[rule]]\nname = \"a\"\n[[rule]]\nname = \"a\"", "4:8", "its own name"),
        ("[[rule]]\ndecision = \"deny\"\nkeys = { prefix = 1, bits = 8 }", "3:8", "remove them, or use decision"),
        ("[[rule]]\nkeys = { prefix = 1 }", "2:8", "write one of the two pairs"),
        ("[[rule]]\nkeys = { prefix = 1, bits = 8, value = 1, mask = 1 }", "2:8", "write one of the two pairs"),
        ("[[rule]]\nkeys = { prefix = 1, bits = 0 }", "2:29", "from 1 to 64"),
        ("[[rule]]\nkeys = { prefix = 0x100, bits = 8 }", "2:19", "raise bits"),
        ("[[rule]]\nkeys = { value = 1, mask = 0 }", "2:28", "a mask of zero"),
        ("[[rule]]\nkeys = { value = 3, mask = 1 }", "2:18", "widen the mask"),
        ("[[rule]]\nkeys = { value = \"0x+1\", mask = 1 }", "2:18", "hexadecimal digits"),
        ("[[rule]]\nkeys = { prefix = -1, bits = 8 }", "2:19", "expected a key"),
        ("[defaults]\nsocket = \"/s\"", "2:1", "correct or remove it"),
        ("[defaults]\nquiet = \"yes\"", "2:9", "true or false"),
        ("[defaults]\nquiet = true\nverbose = true", "2:9", "contradict each other"),
        ("[defaults]\naudit = true", "2:9", "give one of: on off"),
        ("[defaults]\naudit = []", "2:9", "expected a string, a number, true or false"),
        ("[defaults]\nlog-format = \"xml\"", "2:14", "give one of: auto text"),
        ("[defaults]\nlog-format = \"\"", "2:14", "requires a value"),
        ("[defaults]\nmax-connections = 0", "2:19", "between 1 and 1000000"),
        ("[defaults]\nrequest-timeout = nan", "2:19", "between 0.001 and 86400"),
        ("[defaults]\ncontrol = \"control\"", "2:11", "start it with '/'"),
        ("[defaults]\ncontrol = \"/%s/control\"", "2:11", "in the last part"),
        ("[defaults]\ncontrol = \"/%d\"", "2:11", "no other '%'"),
        ("[defaults]\ncontrol = \"/%s%s\"", "2:11", "once"),
        (&format!("[defaults]\ncontrol = \"/{}%s\"", "x".repeat(44)), "2:11", "the limit is 44"),
        ("[defaults]\ncontrol = \"/run/\\u0000\"", "2:11", "control character"),
        ("[defaults]\ncontrol-group = \"bogus\"", "2:17", "create it"),
        ("[defaults]\ncontrol-group = 1.5", "2:17", "a name or a number"),
        ("[defaults]\ncontrol-group = 4294967295", "2:17", "the range is 0 to"),
        ("a = 1\na = 2", "2:1", "duplicate"),
        ("ä = \"\u{1}\"", "1:1", "ä"),
    ];
    for (text, place, remedy) in rows {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("/etc/p.toml:{place}: ")), "{text:?}: {error}");
        assert!(error.contains(remedy), "{text:?}: {error}");
        assert!(!error.contains(char::is_control), "{error}");
    }
    let long = parse(&" ".repeat(MAX_LENGTH + 1)).unwrap_err().to_string();
    assert!(long.contains("the limit is"), "{long}");
}

#[test]
fn what_looks_like_a_mistake_is_warned_of() {
    let rows = [
        ("[[rule]]\n[[rule]]", "\"rule 2\" is never reached"),
        ("[[rule]]\nuser = [1]\nkeys = { prefix = 1, bits = 8 }", "default = \"deny\""),
        (
            "default = \"deny\"\n[[rule]]\nuser = [1]\nkeys = { prefix = 1, bits = 8 }\n\
             [[rule]]\nuser = [2]\nkeys = { prefix = 2, bits = 9 }",
            "some keys are in both",
        ),
    ];
    for (text, warning) in rows {
        let warnings = parse(text).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(warning), "{text}: {warnings:?}");
    }
}

#[test]
fn globs_fit_whole_names() {
    let rows = [
        ("wwn-0x6001405*", "wwn-0x6001405abc", true),
        ("wwn-0x6001405*", "scsi-wwn-0x6001405", false),
        ("*.scope", "machine-qemu\\x2d1\\x2dweb.scope", true),
        ("sd?", "sdb", true),
        ("sd?", "sdaa", false),
        ("sd", "sdb", false),
        ("*", "", true),
        ("", "a", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b-", false),
        ("?", "ä", false),
    ];
    for (pattern, name, fits) in rows {
        assert_eq!(Glob::new(pattern.to_owned()).matches(name), fits, "{pattern} {name}");
    }
    // A pattern that would take for ever if every star tried everything.
    let stars = Glob::new("*a".repeat(200));
    assert!(!stars.matches(&"a".repeat(199)));
    assert!(stars.matches(&"a".repeat(200)));
}

/// Lines that mean something, some of them cut off or repeated, in any order.
fn lines() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "default = \"deny\"",
        "[defaults]",
        "control = \"/run/%s\"",
        "control-group = \"kvm\"",
        "verbose = true",
        "[limits]",
        "burst = 5",
        "requests-per-second = 1",
        "[[rule]]",
        "name = \"a\"",
        "user = [\"libvirt-qemu\", 7]",
        "device = [\"*\"]",
        "action = [\"read\"]",
        "decision = \"deny\"",
        "keys = { prefix = \"0xa1\", bits = 8 }",
        "keys = { value = 1, mask = ",
        "unit = [",
        "]",
        "\"",
        "= {",
        "\\u00e4 ä",
    ]);
    prop::collection::vec((line, 0..40usize), 0..20).prop_map(|lines| {
        let cut = |(line, at): (&str, usize)| line.chars().take(40 - at).collect::<String>();
        lines.into_iter().map(cut).collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    #[test]
    fn no_text_is_too_much_for_the_reader(text in ".*") {
        let _ = parse(&text);
    }

    #[test]
    fn neither_is_one_that_looks_like_settings(text in lines()) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.to_string().starts_with("/etc/p.toml:"));
        }
    }

    #[test]
    fn a_glob_without_stars_fits_itself_alone(name in "[a-z:]{0,12}", other in "[a-z:]{0,12}") {
        prop_assert!(Glob::new(name.clone()).matches(&name));
        prop_assert_eq!(Glob::new(name.clone()).matches(&other), name == other);
    }
}

/// The example with everything in it taken at its word.
fn example() -> (String, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/qemu-pr-helper.toml");
    let as_it_is = fs::read_to_string(path).unwrap();
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with([' ', '\n']) && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    let in_full = as_it_is.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    (as_it_is, in_full)
}

#[test]
fn the_example_changes_nothing_and_is_in_order_with_everything_in_it() {
    let (as_it_is, in_full) = example();
    assert_eq!(parse(&as_it_is).unwrap(), Settings::default());
    let settings = parse(&in_full).unwrap();
    assert_eq!(settings.rules.len(), 3);
    assert_eq!(settings.defaults.len(), 12);
    assert!(settings.limits.commands_per_device.is_some() && settings.limits.burst.is_some());
}

#[test]
fn no_group_of_virtual_machines_may_look_at_the_control_socket_of_the_example() {
    let (_, in_full) = example();
    let line = in_full.lines().find(|line| line.starts_with("control-group")).expect("a line about it");
    assert!(["kvm", "qemu", "libvirt"].iter().all(|group| !line.contains(group)), "{line}");
}

#[test]
fn the_example_and_the_man_page_have_every_key() {
    let (_, example) = example();
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/man/qemu-pr-helper.toml.5")).unwrap();
    // serde says which keys there are when it meets one that is not.
    let tables = ["[defaults]", "[devices]", "[limits]", "[[rule]]"].map(|table| format!("{table}\nx = 1"));
    for wrong in tables.into_iter().chain(["x = 1".to_owned(), "[[rule]]\nkeys = { x = 1 }".to_owned()]) {
        let error = parse(&wrong).unwrap_err().to_string();
        let (_, keys) = error.split_once("`, expected ").expect("a list of keys");
        let keys = keys.split(';').next().unwrap().replace(" or ", ", ");
        let keys = keys.trim_start_matches("one of ").split(", ").map(|key| key.trim_matches('`'));
        for key in keys {
            assert!(example.contains(&format!("{key} = ")) || example.contains(&format!("[{key}]")), "{key}");
            assert!(page.contains(key), "{key} is not in the man page");
        }
    }
}
