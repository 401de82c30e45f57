use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::audit::{keys, launch, ours, records};

/// The process that looks names up.
#[track_caller]
fn librarian(helper: &Helper) -> Process {
    helper.child("qemu-pr-names")
}

#[test]
fn the_process_that_looks_names_up_has_no_rights_and_nothing_of_the_daemons() {
    ours(|bed| {
        let helper = launch(bed).start();
        let librarian = librarian(&helper);
        // The daemon may greet before this process has given up what it had.
        eventually("no capability is left", || librarian.status()["CapPrm"].bytes().all(|digit| digit == b'0'));
        eventually("new privileges are ruled out", || librarian.status()["NoNewPrivs"] == "1");
        let status = librarian.status();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        for id in ["Uid", "Gid"] {
            assert_eq!(status[id].split_whitespace().collect::<Vec<_>>(), ["65534"; 4], "{id}");
        }
        assert_eq!(librarian.descriptors().len(), 4, "{:?}", librarian.descriptors());
        helper.end(Signal::KILL);
        eventually("it ends with the daemon", || !librarian.is_alive());
    });
}

#[test]
fn nobody_looks_names_up_where_nobody_wants_them() {
    ours(|bed| {
        let helper = bed.launch().args(["--audit", "off"]).start();
        helper.connect().expect_served();
        let parent = helper.process().id().to_string();
        let names = Process::all().into_iter().filter(|process| process.status().get("PPid") == Some(&parent));
        let names: Vec<String> = names.filter_map(|process| process.status().get("Name").cloned()).collect();
        assert!(!names.iter().any(|name| name == "qemu-pr-names"), "{names:?}");
    });
}

#[test]
fn a_client_is_named_by_its_program() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut trail = bed.control().follow().expect("a trail");
        let client = helper.connect();
        client.pr_out(null(), 3, &keys(1, 0));
        let record = &records(&mut trail, 1)[0];
        let program = record.client.program.as_deref().unwrap_or_default();
        let own = std::env::current_exe().expect("a program");
        let own = own.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!program.is_empty() && own.starts_with(program), "{own}: {record}");
        assert_eq!(record.client.connection, 2, "{record}");
    });
}

#[test]
fn without_that_process_the_trail_has_numbers() {
    ours(|bed| {
        let helper = launch(bed).start();
        let librarian = librarian(&helper);
        librarian.signal(Signal::KILL);
        eventually("it is gone", || !librarian.is_alive());
        let mut trail = bed.control().follow().expect("a trail");
        helper.connect().pr_out(null(), 3, &keys(1, 0));
        let record = &records(&mut trail, 1)[0];
        assert_eq!(record.client.pid, Some(std::process::id()));
        assert_eq!(record.client.program, None);
    });
}

#[test]
fn a_process_that_looks_names_up_and_hangs_holds_up_the_log_alone() {
    ours(|bed| {
        let helper = launch(bed).start();
        let librarian = librarian(&helper);
        librarian.signal(Signal::STOP);
        let client = helper.connect();
        for _ in 0..200 {
            client.pr_out(null(), 3, &keys(1, 0));
        }
        let end = helper.end(Signal::TERM);
        assert_eq!(end.code(), 0);
        librarian.signal(Signal::KILL);
    });
}
