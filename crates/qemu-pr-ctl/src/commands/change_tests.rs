use clap::Parser;
use scsi_persistent_reservations::BASIC_LENGTH;

use super::*;
use crate::commands::{Command, Options};

/// The bytes that a command line sends, and what is printed if the disk carries them out.
fn sent(line: &str) -> ([u8; 16], Vec<u8>, String) {
    let options = Options::try_parse_from(["qemu-pr-ctl"].into_iter().chain(line.split(' '))).expect(line);
    let change = change(&options.command);
    let request = change.request();
    assert_eq!(change.device().path.as_os_str(), "/d");
    (*request.cdb.as_bytes(), request.list.clone(), change.done())
}

fn change(command: &Command) -> &dyn Change {
    match command {
        Command::Register(change) => change,
        Command::RegisterIgnore(change) => change,
        Command::Unregister(change) => change,
        Command::Reserve(change) => change,
        Command::Release(change) => change,
        Command::Clear(change) => change,
        Command::Preempt(change) => change,
        Command::PreemptAbort(change) => change,
        Command::Move(change) => change,
        Command::ReplaceLost(change) => change,
        other => panic!("{other:?} changes nothing"),
    }
}

#[test]
fn command_lines_become_the_bytes_that_spc_wants() {
    // Service action, scope and type, own key, service action key, flags (1 is APTPL, 4 is ALL_TG_PT).
    for (line, action, kind, key, other, flags) in [
        ("register /d --new-key 7", 0, 0, 0, 7, 0),
        ("register /d --key 0x6 --new-key 0x7", 0, 0, 6, 7, 0),
        ("register /d --new-key 7 --aptpl", 0, 0, 0, 7, 1),
        ("register /d --new-key 7 --all-target-ports", 0, 0, 0, 7, 4),
        ("register-ignore /d --new-key 7 --aptpl --all-target-ports", 6, 0, 0, 7, 5),
        ("unregister /d --key 7", 0, 0, 7, 0, 0),
        ("unregister /d --key 7 --all-target-ports", 0, 0, 7, 0, 4),
        ("reserve /d --key 7 --type write-exclusive", 1, 1, 7, 0, 0),
        ("reserve /d --key 7 --type exclusive-access-all-registrants", 1, 8, 7, 0, 0),
        ("release /d --key 7 --type 5", 2, 5, 7, 0, 0),
        ("clear /d --key 7", 3, 0, 7, 0, 0),
        ("preempt /d --key 7 --victim 8 --type 6", 4, 6, 7, 8, 0),
        ("preempt-abort /d --key 7 --victim 0 --type 7", 5, 7, 7, 0, 0),
        ("replace-lost /d --new-key 7 --type 5 --aptpl", 8, 5, 0, 7, 1),
    ] {
        let mut cdb = [0; 16];
        cdb[..3].copy_from_slice(&[0x5f, action, kind]);
        cdb[8] = 24;
        let mut list = vec![0; BASIC_LENGTH];
        (list[7], list[15], list[20]) = (key, other, flags);
        let (sent_cdb, sent_list, _) = sent(line);
        assert_eq!((sent_cdb, sent_list), (cdb, list), "{line}");
    }
}

#[test]
fn initiators_that_are_named_stand_behind_the_list() {
    let line = "register /d --new-key 7 --spec-i-pt sas:0x5000000000000001 --spec-i-pt fc:0x2100000000000002";
    let (cdb, list, _) = sent(line);
    assert_eq!((cdb[1], cdb[8], list.len()), (0, 76, 76));
    assert_eq!((list[20], list[27]), (8, 48), "SPEC_I_PT and the length of the TransportIDs");
    assert_eq!((list[28], list[28 + 4], list[28 + 24], list[28 + 24 + 8]), (6, 0x50, 0, 0x21));
}

#[test]
fn a_move_names_the_other_initiator() {
    let line = "move /d --key 7 --new-key 8 --to sas:0x5000000000000001 --target-port 258 --unregister --aptpl";
    let (cdb, list, said) = sent(line);
    assert_eq!((cdb[1], cdb[8], list.len()), (7, 48, 48));
    assert_eq!((list[7], list[15]), (7, 8));
    assert_eq!(list[16..24], [0, 3, 1, 2, 0, 0, 0, 24]);
    assert_eq!((list[24], list[28]), (6, 0x50));
    assert_eq!(said, "the reservation is held by the other initiator, with key 0x8");
}

#[test]
fn what_ends_registrations_of_others_is_destructive() {
    for (line, destructive) in [
        ("register /d --new-key 7", false),
        ("release /d --key 7 --type 5", false),
        ("clear /d --key 7", true),
        ("preempt /d --key 7 --victim 8 --type 5", true),
        ("preempt-abort /d --key 7 --victim 8 --type 5", true),
        ("replace-lost /d --new-key 7 --type 5", true),
    ] {
        let options = Options::try_parse_from(["qemu-pr-ctl"].into_iter().chain(line.split(' '))).expect(line);
        let change = change(&options.command);
        assert_eq!(change.request().removes_others(), destructive, "{line}");
        assert_eq!(change.is_confirmed(), !destructive, "{line}");
    }
}

#[test]
fn what_is_done_is_said_in_words() {
    for (line, words) in [
        ("register /d --new-key 7", "key 0x7 is registered for this host"),
        ("register-ignore /d --new-key 7", "key 0x7 is registered for this host"),
        ("unregister /d --key 7", "key 0x7 of this host is no longer registered"),
        ("reserve /d --key 7 --type 5", "reserved with key 0x7: Write Exclusive, registrants only (type 5)"),
        ("release /d --key 7 --type 5", "key 0x7 of this host holds no reservation"),
        ("clear /d --key 7", "all registrations and the reservation are removed"),
        ("preempt /d --key 7 --victim 8 --type 5", "the registrations with key 0x8 are removed"),
        ("preempt /d --key 7 --victim 7 --type 5", "the registrations of other initiators with key 0x7 are removed"),
        ("preempt /d --key 7 --victim 0 --type 7", "the registrations of all other initiators are removed"),
        (
            "preempt-abort /d --key 7 --victim 8 --type 5",
            "the registrations with key 0x8 are removed and their commands aborted",
        ),
    ] {
        assert_eq!(sent(line).2, words, "{line}");
    }
}
