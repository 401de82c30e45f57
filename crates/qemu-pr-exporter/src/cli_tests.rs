use super::*;

fn parse_line(line: &str) -> Result<Request, Invalid> {
    parse(line.split(' ').map(OsString::from))
}

fn options(line: &str) -> Options {
    match parse_line(line) {
        Ok(Request::Serve(options)) => options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_help() {
    let options = options("qemu-pr-exporter");
    let expected = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 9437)),
        user: None,
        control: vec!["/run/qemu-pr-helper/control".into()],
        timeout: Duration::from_secs(5),
        json: false,
    };
    assert_eq!(options, expected);
}

#[test]
fn every_option_is_taken_with_and_without_an_equals_sign() {
    for line in [
        "qemu-pr-exporter --listen [::1]:80 --user daemon --control /a --control=/b --timeout 7 --json",
        "qemu-pr-exporter --json --timeout=7 --control /a --control /b --user=daemon --listen=[::1]:80",
    ] {
        let Options { listen, user, control, timeout, json } = options(line);
        assert_eq!((listen.to_string(), user.as_deref()), ("[::1]:80".to_owned(), Some("daemon")), "{line}");
        assert_eq!(control, ["/a", "/b"].map(PathBuf::from), "{line}");
        assert_eq!((timeout, json), (Duration::from_secs(7), true), "{line}");
    }
    assert_eq!(options("qemu-pr-exporter --control=-x").control, [PathBuf::from("-x")]);
}

#[test]
fn help_and_version_come_before_what_is_wrong_behind_them() {
    for (line, expected) in [
        ("qemu-pr-exporter --help", Request::Help),
        ("qemu-pr-exporter -h --nothing", Request::Help),
        ("qemu-pr-exporter --json --version", Request::Version),
        ("qemu-pr-exporter -V", Request::Version),
    ] {
        assert_eq!(parse_line(line).expect(line), expected);
    }
}

#[test]
fn what_is_no_option_is_refused_with_a_reason() {
    for (line, reason) in [
        ("--socket /s", "invalid option '--socket'; see 'qemu-pr-exporter --help'"),
        ("-k /s", "invalid option '-k'; see 'qemu-pr-exporter --help'"),
        ("exporter", "unexpected argument \"exporter\"; see 'qemu-pr-exporter --help'"),
        ("-- --json", "unexpected argument \"--json\"; see 'qemu-pr-exporter --help'"),
        ("--json=yes", "unexpected argument for option '--json': \"yes\"; see 'qemu-pr-exporter --help'"),
        ("--listen", "missing argument for option '--listen'; see 'qemu-pr-exporter --help'"),
        ("--control --json", "no value for '--control'; see 'qemu-pr-exporter --help'"),
        ("--control=", "no value for '--control'; see 'qemu-pr-exporter --help'"),
        ("--user a --user a", "'--user' is given twice; see 'qemu-pr-exporter --help'"),
        ("--json --json", "'--json' is given twice"),
        ("--listen localhost:80", "invalid value 'localhost:80' for '--listen': expected an IP address and a port"),
        ("--listen 127.0.0.1", "invalid value '127.0.0.1' for '--listen': expected an IP address and a port"),
        ("--timeout 0", "invalid value '0' for '--timeout': expected a whole number of seconds from 1 to 86400"),
        ("--timeout forever", "invalid value 'forever' for '--timeout': expected a whole number"),
        ("--timeout 86401", "from 1 to 86400"),
    ] {
        let error = parse_line(&format!("qemu-pr-exporter {line}")).expect_err(line);
        assert!(error.to_string().contains(reason), "{line}: {error}");
    }
}

#[test]
fn words_that_are_no_text_are_paths_and_nothing_else() {
    use std::os::unix::ffi::OsStringExt as _;
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let parse = |option: &[u8]| parse([word(b"qemu-pr-exporter"), word(option)]);
    let request = parse(b"--control=/\xff").expect("a path");
    assert!(matches!(request, Request::Serve(options) if options.control == [PathBuf::from(word(b"/\xff"))]));
    for option in [&b"--user=\xff"[..], b"--listen=\xff", b"--timeout=\xff"] {
        assert!(parse(option).expect_err("no text").to_string().starts_with("invalid value '\u{fffd}'"));
    }
    parse(b"--\xff=1").expect_err("no option");
    parse(b"\xff").expect_err("no option");
}

#[test]
fn the_table_has_what_is_taken() {
    for Opt { long, short, value, .. } in OPTIONS {
        let with = if value.is_some() { "=" } else { "=x" };
        let result = parse_line(&format!("qemu-pr-exporter --{long}{with}"));
        let is_unknown = matches!(&result, Err(error) if error.to_string().contains("invalid option"));
        assert!(!is_unknown, "--{long}: {result:?}");
        if let Some(letter) = short {
            assert_eq!(
                parse_line(&format!("qemu-pr-exporter -{letter}")).expect("an option"),
                parse_line(&format!("qemu-pr-exporter --{long}")).expect("an option")
            );
        }
    }
}

#[test]
fn help_names_every_option_and_fits_an_ordinary_terminal() {
    let help = help();
    for Opt { long, default, .. } in OPTIONS {
        assert!(help.contains(&format!("--{long}")), "{help}");
        assert!(default.is_none_or(|default| help.contains(&format!("[default: {default}]"))), "{help}");
    }
    let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:?}");
}
