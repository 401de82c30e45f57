use super::*;

fn parsed(arguments: &[&str]) -> Result<Options, clap::Error> {
    let arguments: Vec<_> =
        std::iter::once("qemu-pr-helper").chain(arguments.iter().copied()).map(Into::into).collect();
    let matches = definition(false, &arguments).try_get_matches_from(arguments)?;
    Options::from_arg_matches(&matches)
}

fn socket(arguments: &[&str]) -> Option<PathBuf> {
    parsed(arguments).ok()?.socket
}

#[test]
fn the_definition_of_the_options_is_sound() {
    definition(false, &[]).debug_assert();
    definition(false, &["--abbr".into()]).debug_assert();
}

#[test]
fn every_way_to_write_an_option_means_the_same() {
    let ways: [&[&str]; 8] = [
        &["-k", "/s"],
        &["-k/s"],
        &["--socket", "/s"],
        &["--socket=/s"],
        &["--so=/s"],
        &["--s", "/s"],
        &["-qvk/s"],
        &["operand", "-k", "/s", "operand"],
    ];
    for way in ways {
        assert_eq!(socket(way), Some("/s".into()), "{way:?}");
    }
}

#[test]
fn the_last_of_several_values_wins() {
    assert_eq!(socket(&["-k", "/a", "--socket=/b", "-k/c"]), Some("/c".into()));
    assert_eq!(parsed(&["-d", "-d", "-q", "-q"]).map(|o| (o.daemon, o.quiet)).ok(), Some((true, true)));
}

#[test]
fn options_end_at_two_dashes() {
    assert_eq!(socket(&["--", "-k", "/s"]), None);
}

#[test]
fn an_abbreviation_is_taken_when_it_is_clear_among_the_options_of_the_original() {
    // --socket-mode and --socket-group are ours; --sock has meant --socket for longer.
    for (abbreviation, clear) in
        [("--sock=/s", true), ("--p=/p", true), ("--da", true), ("--v", false), ("--ver", false), ("--vers", true)]
    {
        let taken = match parsed(&[abbreviation]) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::DisplayVersion,
        };
        assert_eq!(taken, clear, "{abbreviation}");
    }
    assert_eq!(parsed(&["--socket-m=660"]).ok().and_then(|options| options.socket_mode), Some(0o660));
}

#[test]
fn options_act_in_their_order() {
    let kind = |arguments: &[&str]| parsed(arguments).map_err(|error| error.kind()).err();
    assert_eq!(kind(&["-h", "-k", "relative"]), Some(ErrorKind::DisplayHelp));
    assert_eq!(kind(&["-k", "relative", "-h"]), Some(ErrorKind::ValueValidation));
    assert_eq!(kind(&["-V", "--bogus"]), Some(ErrorKind::DisplayVersion));
    assert_eq!(kind(&["-hV"]), Some(ErrorKind::DisplayHelp));
}

#[test]
fn each_error_names_option_value_reason_and_remedy() {
    let command = definition(false, &[]);
    let rows: [(&[&str], &[&str]); 10] = [
        (&["-k", "rel"], &["--socket", "'rel'", "not absolute", "'/'"]),
        (&["-k", ""], &["--socket", "''", "not absolute"]),
        (&["-k"], &["--socket", "requires a value"]),
        (&["-u", "4294967295"], &["--user", "4294967295", "number below"]),
        (&["-g", ""], &["--group", "''"]),
        (&["--socket-mode", "9"], &["--socket-mode", "'9'", "octal", "660"]),
        (&["--max-connections", "0"], &["--max-connections", "'0'", "between 1 and 1000000"]),
        (&["--drain-timeout", "-1"], &["--drain-timeout", "-1"]),
        (&["--daemon=1"], &["--daemon", "doesn't allow"]),
        (&["--ver"], &["--ver", "ambiguous", "--version", "--verbose"]),
    ];
    for (arguments, fragments) in rows {
        let text = parsed(arguments).map_err(|error| reason(&command, &error)).err().unwrap_or_default();
        for fragment in fragments {
            assert!(text.contains(fragment), "{arguments:?}: no {fragment:?} in {text:?}");
        }
    }
}

#[test]
fn paths_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let path = OsString::from_vec(b"/run/\xff\xfe.sock".to_vec());
    let arguments: [OsString; 3] = ["qemu-pr-helper".into(), "-k".into(), path.clone()];
    let matches = definition(false, &arguments).try_get_matches_from(arguments);
    let options = matches.and_then(|matches| Options::from_arg_matches(&matches));
    assert_eq!(options.ok().and_then(|options| options.socket), Some(path.into()));
}
