//! The process itself, its identity and what it costs: the behaviour that both helpers share.

use std::path::Path;

use pr_lab::prelude::*;

use crate::OURS;

const NOBODY: &str = "65534 65534 65534 65534";
const ROOT: &str = "0 0 0 0";
/// `CAP_SYS_RAWIO` alone.
const RAW_IO: &str = "0000000000020000";
const NONE: &str = "0000000000000000";

/// Asserts identity and capabilities of the main thread.
#[track_caller]
fn expect_identity(bed: &Bed, args: &[&str], user: &str, group: &str) {
    let helper = bed.launch().args(args).start();
    let status = helper.process().status();
    assert_eq!((&*status["Uid"], &*status["Gid"]), (user, group), "{args:?}");
    assert_eq!(status["Groups"], "", "{args:?}");
    for (set, expected) in
        [("CapPrm", RAW_IO), ("CapEff", RAW_IO), ("CapInh", NONE), ("CapBnd", NONE), ("CapAmb", NONE)]
    {
        assert_eq!(status[set], expected, "{set} with {args:?}");
    }
    helper.connect().expect_served();
}

#[test]
fn without_a_user_it_stays_root_with_one_capability() {
    both(OURS, |bed| expect_identity(bed, &[], ROOT, ROOT));
}

#[test]
fn a_user_and_a_group_replace_all_their_ids() {
    both(OURS, |bed| {
        expect_identity(bed, &["-u", "nobody", "-g", "nogroup"], NOBODY, NOBODY);
        expect_identity(bed, &["--user=65534", "--group=65534"], NOBODY, NOBODY);
    });
}

#[test]
fn a_user_alone_leaves_the_group_and_a_group_alone_the_user() {
    both(OURS, |bed| {
        expect_identity(bed, &["-u", "nobody"], NOBODY, ROOT);
        expect_identity(bed, &["-g", "nogroup"], ROOT, NOBODY);
    });
}

#[test]
fn the_last_user_wins() {
    both(OURS, |bed| expect_identity(bed, &["-u", "10", "-u", "nobody", "-g", "10", "-g", "nogroup"], NOBODY, NOBODY));
}

#[test]
fn supplementary_groups_are_dropped() {
    both(OURS, |bed| {
        let helper = bed.launch().by(&["/usr/bin/setpriv", "--groups", "10,20,30", "--"]).start();
        assert_eq!(helper.process().status()["Groups"], "");
    });
}

#[test]
fn missing_rights_are_refused() {
    const POOR: [&[&str]; 4] = [
        &["--reuid=65534", "--regid=65534", "--clear-groups"],
        &["--bounding-set", "-setpcap"],
        &["--bounding-set", "-sys_rawio"],
        &["--bounding-set", "-setuid"],
    ];
    both(OURS, |bed| {
        std::fs::create_dir(bed.path("theirs")).unwrap();
        std::os::unix::fs::chown(bed.path("theirs"), Some(65534), Some(65534)).unwrap();
        for restriction in POOR {
            let mut wrapper = vec!["/usr/bin/setpriv"];
            wrapper.extend(restriction);
            wrapper.push("--");
            let user = if restriction[0].starts_with("--reuid") { vec![] } else { vec!["-u", "nobody"] };
            let launch = bed.launch().at(bed.path("theirs/pr.sock")).by(&wrapper).args(user);
            launch.run().expect_refusal(&["privileges", "Operation not permitted"]);
        }
    });
}

#[test]
fn standard_streams_stay_as_they_were_given() {
    both(OURS, |bed| {
        let file = std::fs::File::create(bed.path("out")).unwrap();
        let helper = bed.launch().stream(1, Stream::Fd(file.into())).start();
        let descriptors = helper.process().descriptors();
        assert_eq!(descriptors[&0], Path::new("/dev/null"));
        assert_eq!(descriptors[&1], bed.path("out"));
        assert!(descriptors[&2].to_str().unwrap().starts_with("pipe:"));
    });
}

#[test]
fn quiet_silences_the_protocol_messages_whatever_verbose_says() {
    both(OURS, |bed| {
        for args in [["-q", "-q"], ["-q", "-v"], ["-v", "-q"], ["--quiet", "--verbose"]] {
            let helper = bed.launch().args(args).start();
            let client = helper.connect();
            client.send(&Raw::cdb_in(0, 8));
            client.expect_closed();
            let client = helper.connect();
            client.send_with(&[0; 16], &[std::os::fd::AsFd::as_fd(&null())]);
            client.expect_closed();
            assert_eq!(helper.end(rustix::process::Signal::TERM).stderr, "", "{args:?}");
        }
    });
}

#[test]
fn protocol_messages_appear_without_quiet() {
    both(OURS, |bed| {
        for args in [&[][..], &["-v"]] {
            let helper = bed.launch().args(args).start();
            let client = helper.connect();
            client.send(&Raw::cdb_in(0, 8));
            client.expect_closed();
            helper.await_stderr("file descriptor");
            assert!(helper.stderr().starts_with("qemu-pr-helper: "), "{}", helper.stderr());
        }
    });
}

#[test]
fn an_idle_helper_uses_no_processor_time() {
    both(OURS, |bed| {
        let helper = bed.start();
        let _idle: Vec<_> = (0..20).map(|_| helper.connect()).collect();
        helper.settled_descriptors();
        let before = helper.process().cpu_ticks();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let used = helper.process().cpu_ticks() - before;
        assert!(used <= 5, "{used} ticks in half a second");
    });
}

#[test]
fn idle_connections_cost_little_memory_and_no_thread_each() {
    both(OURS, |bed| {
        let helper = bed.start();
        let before = helper.process().resident_kb();
        let threads = helper.process().threads().len();
        let clients: Vec<_> = (0..200).map(|_| helper.connect()).collect();
        clients[199].expect_served();
        assert!(helper.process().resident_kb() < before + 200 * 16, "less than 16 kB a connection");
        assert!(helper.process().threads().len() < threads + 40, "no thread for each of 200 connections");
    });
}
