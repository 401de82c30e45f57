//! What the helper makes of a device's answer: the rows that both helpers share.

use pr_lab::prelude::*;

use crate::OURS;

/// errno of the ioctl, and the sense (key, code, qualifier) of the CHECK CONDITION it becomes.
const ERRNO_SENSE: [(i32, (u8, u8, u8)); 6] = [
    (libc::EINVAL, (5, 0x24, 0x00)),
    (libc::ENOMEM, (4, 0x44, 0x00)),
    (libc::EREMOTEIO, (4, 0x44, 0x00)),
    (libc::ENOSPC, (7, 0x27, 0x07)),
    (libc::ENODATA, (3, 0x11, 0x00)),
    (libc::ENOMEDIUM, (2, 0x3a, 0x00)),
];

/// errno of the ioctl, and the bare status it becomes.
const ERRNO_STATUS: [(i32, u32); 2] = [(libc::EDOM, 0x28), (libc::EBADE, 0x18)];

/// `host_status`, and the sense of the CHECK CONDITION it becomes.
const HOST_SENSE: [(u16, (u8, u8, u8)); 10] = [
    (0x01, (0xb, 0x05, 0x00)),
    (0x03, (0xb, 0x2e, 0x02)),
    (0x04, (0xb, 0x08, 0x00)),
    (0x05, (0xb, 0x2f, 0x02)),
    (0x08, (0x6, 0x29, 0x00)),
    (0x0e, (0xb, 0x29, 0x07)),
    (0x10, (0x4, 0x44, 0x00)),
    (0x12, (0x7, 0x27, 0x07)),
    (0x13, (0x3, 0x11, 0x00)),
    (0x101, (0xb, 0x05, 0x00)),
];

/// `host_status`, and the bare status it becomes.
const HOST_STATUS: [(u16, u32); 2] = [(0x02, 0x08), (0x11, 0x18)];

/// Asks for a PR IN and a PR OUT of a device that answers so.
fn ask(bed: &Bed, outcomes: impl IntoIterator<Item = Outcome>, mut check: impl FnMut(usize, &Reply)) {
    let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
    let client = helper.connect();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        helper.device().behave(move |_| outcome.clone());
        check(index, &client.pr_in(null(), 0, 8));
        check(index, &client.pr_out(null(), 0, &[0; 24]));
    }
}

#[test]
fn an_errno_with_a_meaning_becomes_that_sense() {
    both(OURS, |bed| {
        let outcomes = ERRNO_SENSE.map(|(errno, _)| Outcome::Errno(errno));
        ask(bed, outcomes, |row, reply| {
            assert_eq!((reply.status, reply.size), (2, 0));
            assert_eq!(reply.fixed_sense(), ERRNO_SENSE[row].1, "errno {}", ERRNO_SENSE[row].0);
        });
    });
}

#[test]
fn an_errno_that_stands_for_a_status_becomes_that_status() {
    both(OURS, |bed| {
        let outcomes = ERRNO_STATUS.map(|(errno, _)| Outcome::Errno(errno));
        ask(bed, outcomes, |row, reply| reply.expect_bare(ERRNO_STATUS[row].1));
    });
}

#[test]
fn every_other_errno_becomes_io_process_terminated() {
    both(OURS, |bed| {
        let known: Vec<i32> = ERRNO_SENSE.map(|row| row.0).into_iter().chain(ERRNO_STATUS.map(|row| row.0)).collect();
        let others: Vec<i32> = (1..=133).filter(|errno| !known.contains(errno)).collect();
        ask(bed, others.iter().map(|errno| Outcome::Errno(*errno)), |row, reply| {
            assert_eq!((reply.status, reply.size), (2, 0), "errno {}", others[row]);
            assert_eq!(reply.fixed_sense(), (0xb, 0x00, 0x06), "errno {}", others[row]);
        });
    });
}

#[test]
fn a_host_byte_becomes_its_sense_whatever_status_the_adapter_left() {
    both(OURS, |bed| {
        for status in [0x00, 0x02, 0x08] {
            let outcomes = HOST_SENSE.map(|(host, _)| Answer::host(host, status).into());
            ask(bed, outcomes, |row, reply| {
                assert_eq!((reply.status, reply.size), (2, 0), "host byte {:#x}", HOST_SENSE[row].0);
                assert_eq!((reply.sense[2], reply.sense[12], reply.sense[13]), HOST_SENSE[row].1);
                assert_eq!((reply.sense[0], reply.sense[7]), (0x70, 10));
            });
        }
    });
}

#[test]
fn a_host_byte_that_stands_for_a_status_becomes_that_status() {
    both(OURS, |bed| {
        let outcomes = HOST_STATUS.map(|(host, _)| Answer::host(host, 0).into());
        ask(bed, outcomes, |row, reply| reply.expect_bare(HOST_STATUS[row].1));
    });
}

#[test]
fn a_timeout_in_the_driver_byte_becomes_busy() {
    both(OURS, |bed| {
        let outcomes = [2, 4, 6].map(|driver_status| Answer { driver_status, ..Answer::default() }.into());
        ask(bed, outcomes, |_, reply| reply.expect_bare(8));
    });
}

#[test]
fn a_driver_byte_that_only_announces_sense_changes_nothing() {
    both(OURS, |bed| {
        let answer = Answer { driver_status: 8, ..Answer::good(&[5; 8]) };
        ask(bed, [answer.into()], |_, reply| assert_eq!(reply.status, 0));
    });
}

#[test]
fn every_scsi_status_passes_unchanged() {
    const STATUSES: [u8; 6] = [0x04, 0x08, 0x18, 0x28, 0x30, 0x40];
    both(OURS, |bed| {
        ask(bed, STATUSES.map(|status| Answer::status(status).into()), |row, reply| {
            reply.expect_bare(STATUSES[row].into());
        });
    });
}

#[test]
fn fixed_format_sense_passes_unchanged() {
    both(OURS, |bed| ask(bed, [Answer::check_fixed(6, 0x2a, 3).into()], |_, reply| reply.expect_check(6, 0x2a, 3)));
}

#[test]
fn descriptor_format_sense_of_96_bytes_passes_unchanged() {
    both(OURS, |bed| {
        let mut sense: Vec<u8> = (0..96).collect();
        (sense[0], sense[7]) = (0x72, 88);
        let expected = sense.clone();
        ask(bed, [Answer::check(&sense).into()], move |_, reply| {
            assert_eq!((reply.status, reply.size), (2, 0));
            assert_eq!(reply.sense[..], expected[..]);
        });
    });
}

#[test]
fn a_failed_pr_in_returns_no_payload_even_if_data_came() {
    both(OURS, |bed| {
        let answer = Answer { data_in: vec![1; 8], ..Answer::check_fixed(5, 0x24, 0) };
        ask(bed, [answer.into()], |_, reply| reply.expect_check(5, 0x24, 0));
    });
}

#[test]
fn sense_that_comes_with_good_is_passed_on() {
    both(OURS, |bed| {
        let answer = Answer { sense: Answer::check_fixed(1, 0x0b, 0).sense, ..Answer::good(&[4; 8]) };
        ask(bed, [answer.into()], |_, reply| {
            assert_eq!(reply.status, 0);
            assert_eq!(reply.fixed_sense(), (1, 0x0b, 0));
        });
    });
}
