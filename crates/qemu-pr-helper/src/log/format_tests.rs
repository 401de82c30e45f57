use pr_control::{Client, Command, Device, Outcome};

use super::*;

fn record(status: &str, reason: Option<&str>) -> Record {
    let device = Device { kind: "block".into(), number: "8:16".into(), ..Device::default() };
    let command = Command { action: "RESERVE".into(), key: Some("0x1".into()), ..Command::default() };
    let outcome = Outcome { status: status.into(), sense: None, microseconds: 7 };
    let what = match reason {
        Some(reason) => What::Refusal { device, command, outcome, reason: reason.into() },
        None => What::Command { device, command, outcome, note: None },
    };
    Record { time_us: 5, client: Client { connection: 3, ..Client::default() }, what }
}

fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_message_looks_as_its_style_wants_it() {
    for (style, wanted) in [
        (Style::Text, "helper: \"odd\" news\n"),
        (Style::Prefix, "<4>helper: \"odd\" news\n"),
        (Style::Json, "{\"time_us\":12,\"level\":\"warning\",\"message\":\"\\\"odd\\\" news\"}\n"),
    ] {
        let text = written(|out| style.message("helper", 12, Level::Warning, "\"odd\" news", out));
        assert_eq!(text, wanted, "{style:?}");
    }
}

#[test]
fn a_trace_is_bare_on_standard_error_and_stamped_in_a_file() {
    for (style, wanted) in [
        (Style::Text, "event a=1\n"),
        (Style::Prefix, "<7>event a=1\n"),
        (Style::Json, "{\"time_us\":12,\"level\":\"trace\",\"message\":\"event a=1\"}\n"),
    ] {
        assert_eq!(written(|out| style.trace(12, "event a=1", out)), wanted, "{style:?}");
    }
    let line = written(|out| stamped(77, 1_700_000_000_000_042, "event a=1", out));
    assert_eq!(line, "77@1700000000.000042:event a=1\n");
}

#[test]
fn a_record_is_as_important_as_what_happened() {
    for (record, wanted) in [
        (record("GOOD", None), Level::Info),
        (record("RESERVATION CONFLICT", None), Level::Notice),
        (record("CHECK CONDITION", Some("read only")), Level::Warning),
    ] {
        assert_eq!(level_of(&record), wanted);
        let text = written(|out| Style::Prefix.record("helper", &record, out));
        assert_eq!(text, format!("<{}>helper: audit: {record}\n", wanted.number()));
    }
}

#[test]
fn a_record_in_json_is_the_public_one_with_its_level() {
    let record = record("GOOD", None);
    let text = written(|out| Style::Json.record("helper", &record, out));
    assert!(text.starts_with("{\"level\":\"info\","), "{text}");
    assert_eq!(serde_json::from_str::<Record>(&text).expect("a record"), record);
}
