//! The manual explains each message that the programs can print, and none that they cannot.
//!
//! An entry is a line that is one code span, with `…` for what is filled in; an explanation (`: …`) follows, perhaps after
//! more entries that it explains as well. Texts that only ever stand inside a message have to be in a code span
//! anywhere on these pages.

use std::collections::BTreeSet;

use crate::sources::{self, Text};
use crate::text;

/// Where messages are explained.
const PAGES: [&str; 2] = ["messages-helper.md", "messages-ctl.md"];

/// Files with texts that are no messages, and what they are. Their errors and messages count all the same.
const OTHER_TEXTS: &[(&str, &str)] = &[
    ("pr-conformance/src/", "a result of validate"),
    ("pr-control/src/record.rs", "a record of the audit log"),
    ("pr-control/src/snapshot.rs", "the standard's words"),
    ("pr-device/src/identity.rs", "what a descriptor is"),
    ("qemu-pr-ctl/src/commands/bench.rs", "a result"),
    ("qemu-pr-ctl/src/commands/clear.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/compare.rs", "a result"),
    ("qemu-pr-ctl/src/commands/doctor/", "where it looks, and commands that mend what it finds"),
    ("qemu-pr-ctl/src/commands/move_to.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/ping.rs", "a result"),
    ("qemu-pr-ctl/src/commands/preempt.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/preempt_abort.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/register.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/register_ignore.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/release.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/replace_lost.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/reserve.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/simulate/", "what is simulated, and where"),
    ("qemu-pr-ctl/src/commands/state.rs", "a result"),
    ("qemu-pr-ctl/src/commands/trace.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/unregister.rs", "what was done"),
    ("qemu-pr-ctl/src/commands/validate/", "a result"),
    ("qemu-pr-ctl/src/commands/watch.rs", "a result"),
    ("qemu-pr-ctl/src/error/exit.rs", "the table in --help"),
    ("qemu-pr-ctl/src/output/summary.rs", "a result"),
    ("qemu-pr-ctl/src/output/text.rs", "a result"),
    ("qemu-pr-exporter/src/cli.rs", "the help"),
    ("qemu-pr-exporter/src/families.rs", "what goes over HTTP"),
    ("qemu-pr-exporter/src/http.rs", "what goes over HTTP"),
    ("qemu-pr-exporter/src/openmetrics.rs", "what goes over HTTP"),
    ("qemu-pr-exporter/src/server.rs", "what happens while it serves"),
    ("qemu-pr-helper/src/check.rs", "a result"),
    ("qemu-pr-helper/src/metrics.rs", "labels"),
    ("scsi-persistent-reservations/src/", "the standard's words"),
];

/// Single texts that are no messages.
const NO_MESSAGES: &[&str] = &[
    // Help.
    "Pages:",
    "Sequences:",
    // For systemd.
    "READY=1",
    "STOPPING=1",
    // What the events of -T tell.
    "client, ",
    "pid, uid, ask",
    "signal, in_flight",
    "uid, gid, capabilities",
    // For those who read the source.
    "a process with several threads must not fork",
    "a thousand idle clients are to cost next to nothing",
    "each refusal has a name",
    "there is a bit for each in Switches",
    // What the TOML reader says, to be recognised.
    "expected a sequence",
    "unknown field",
    // What was done.
    "settings loaded from …",
    // For multipathd.
    "getprkey map …",
    "setprkey map … key …",
    "setprstatus map …",
    "setprstatus map … pathlist \"…\"",
    "unsetprkey map …",
    "unsetprstatus map …",
];

/// What a page explains: its entries, and all of its code spans.
struct Explained {
    entries: BTreeSet<String>,
    spans: BTreeSet<String>,
}

fn explained(page: &str) -> Explained {
    let mut explained = Explained { entries: BTreeSet::new(), spans: BTreeSet::new() };
    let mut waiting: Option<&str> = None;
    for line in page.lines() {
        let entry = line.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).filter(|entry| !entry.contains('`'));
        match (entry, waiting) {
            (Some(entry), _) => {
                assert!(explained.entries.insert(entry.to_owned()), "{entry}: it is explained twice");
                waiting = Some(entry);
            }
            (None, Some(entry)) => {
                assert!(line.len() > 20 && line.starts_with(": "), "{entry}: no explanation follows, but {line:?}");
                waiting = None;
            }
            (None, None) => {}
        }
    }
    assert_eq!(waiting, None, "the page ends before it is explained");
    // A span may go on in the next line.
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    explained.spans.extend(flat.split('`').skip(1).step_by(2).map(str::to_owned));
    explained
}

fn all_explained() -> Explained {
    let mut all = Explained { entries: BTreeSet::new(), spans: BTreeSet::new() };
    for page in PAGES {
        let Explained { entries, spans } = explained(&text(page));
        all.entries.extend(entries);
        all.spans.extend(spans);
    }
    all
}

/// Whether a text is named above as no message.
fn is_no_message(text: &Text) -> bool {
    OTHER_TEXTS.iter().any(|(file, _)| text.file.starts_with(file))
        || NO_MESSAGES.iter().any(|start| text.text.starts_with(start))
}

#[test]
fn each_message_is_explained() {
    let explained = all_explained();
    let mut missing = Vec::new();
    for text in sources::texts() {
        let is_there = if text.is_message {
            explained.entries.contains(&text.text)
        } else {
            is_no_message(&text) || explained.spans.contains(&text.text) || explained.entries.contains(&text.text)
        };
        if !is_there {
            missing.push(format!("{}{}: `{}`", if text.is_message { "* " } else { "  " }, text.file, text.text));
        }
    }
    assert!(missing.is_empty(), "{} texts are not explained:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn no_message_is_explained_that_nobody_says() {
    let texts: BTreeSet<String> = sources::texts().into_iter().map(|text| text.text).collect();
    let stale: Vec<_> = all_explained().entries.into_iter().filter(|entry| !texts.contains(entry)).collect();
    assert!(stale.is_empty(), "the source has no {stale:#?}");
}

#[test]
fn what_is_named_as_no_message_is_in_the_source() {
    let texts = sources::texts();
    for (file, _) in OTHER_TEXTS {
        assert!(texts.iter().any(|text| !text.is_message && text.file.starts_with(file)), "{file} has no such text");
    }
    for start in NO_MESSAGES {
        assert!(texts.iter().any(|text| !text.is_message && text.text.starts_with(start)), "nobody says {start}");
    }
}

#[test]
fn the_collection_finds_what_it_is_to_find() {
    let texts = sources::texts();
    let has = |file: &str, text: &str, is_message| {
        assert!(
            texts.contains(&Text { file: file.to_owned(), text: text.to_owned(), is_message }),
            "{file} is to have '{text}'"
        );
    };
    // A text of several lines, with a hint; one whose fields are filled in; a macro's; one that only a function knows.
    has(
        "qemu-pr-ctl/src/error/mod.rs",
        "cannot connect to …: Connection refused; no process listens there: start the helper again (systemctl restart \
         qemu-pr-helper)",
        true,
    );
    has("qemu-pr-protocol/src/violation.rs", "Unknown protocol features …", true);
    has("qemu-pr-helper/src/lib.rs", "internal error: …", true);
    has("pr-broker/src/multipathd.rs", "multipathd does not answer '…' (…); see its log", false);
    // Nothing of a test, and no documentation.
    assert!(!texts.iter().any(|text| text.text.contains("a test is there to panic")));
    assert!(!texts.iter().any(|text| text.text.contains("The program, from its command line")));
    assert_eq!(sources::normalised("{a}{b:?}: {{x}}\n  y"), "…: {x} y");
    // Fewer would mean that a whole kind of message is not seen any more.
    assert!(texts.iter().filter(|text| text.is_message).count() > 100);
}
