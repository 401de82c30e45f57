use super::*;

fn parse(text: &str) -> Result<TraceOption, String> {
    option(text.into()).map_err(|error| error.to_string())
}

#[test]
fn each_form_of_the_option_means_what_is_documented() {
    let full = |enable: Option<&str>, events: Option<&str>, file: Option<&str>| TraceOption {
        enable: enable.map(Into::into),
        events: events.map(Into::into),
        file: file.map(Into::into),
    };
    let rows = [
        ("", full(None, None, None)),
        ("pr_*", full(Some("pr_*"), None, None)),
        ("-pr_*", full(Some("-pr_*"), None, None)),
        ("enable=a", full(Some("a"), None, None)),
        ("a,file=/f", full(Some("a"), None, Some("/f"))),
        ("events=/e,file=/f", full(None, Some("/e"), Some("/f"))),
        ("file=/f,enable=b", full(Some("b"), None, Some("/f"))),
        ("file=/a,,b", full(None, None, Some("/a,b"))),
        ("file=/a=b", full(None, None, Some("/a=b"))),
        (",", full(Some(""), None, None)),
        ("a,", full(Some("a"), None, None)),
        ("enable=", full(Some(""), None, None)),
    ];
    for (text, wanted) in rows {
        assert_eq!(parse(text), Ok(wanted), "-T {text:?}");
    }
}

#[test]
fn the_list_is_asked_for_in_three_ways() {
    for text in ["help", "?", "enable=help"] {
        assert!(matches!(option(text.into()), Err(TraceError::List)), "-T {text:?}");
    }
}

#[test]
fn a_parameter_that_does_not_exist_is_named() {
    assert!(parse("bogus=1").is_err_and(|error| error.contains("'bogus'")));
    assert!(parse("a,b").is_err_and(|error| error.contains("'b'")));
}

#[test]
fn a_pattern_of_many_stars_is_decided_at_all() {
    let stars = "*".repeat(60);
    assert_eq!(Switches::default().set([format!("-{stars}z")]), Vec::<String>::new());
    assert!(wildcard::matches(stars.as_bytes(), b"pr_helper_privileges"));
}

#[test]
fn patterns_match_as_globs_do() {
    for (pattern, name, fits) in [
        ("*", "anything", true),
        ("pr_*_done", "pr_helper_done", true),
        ("pr_*_done", "pr_helper_done_", false),
        ("?r", "pr", true),
        ("?", "", false),
        ("pr", "pr", true),
        ("pr", "prx", false),
        ("**x", "abx", true),
    ] {
        assert_eq!(wildcard::matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} on {name}");
    }
}

#[test]
fn the_process_number_replaces_its_mark_in_the_name_of_the_log() {
    let number = std::process::id();
    assert_eq!(with_pid(Path::new("/l-%d.txt")), Some(format!("/l-{number}.txt").into()));
    assert_eq!(with_pid(Path::new("/l.txt")), Some("/l.txt".into()));
    for bad in ["%d-%d", "%s", "%%d", "%", "a%"] {
        assert_eq!(with_pid(Path::new(bad)), None, "{bad}");
    }
}
