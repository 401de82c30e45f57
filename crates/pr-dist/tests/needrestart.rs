//! What needrestart reads of the Debian package, read as needrestart does: by Perl.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::process::Command;

use pr_dev::workspace::root;

/// Prints what is set for a unit, which is its default where nothing is.
const ASK: &str = r"our %nrconf; my ($file, $unit) = @ARGV; do $file // die $@ || $!;
my @set = map { $nrconf{override_rc}{$_} } grep { $unit =~ /$_/ } keys %{ $nrconf{override_rc} };
print @set ? join(' ', @set) : 'default'";

fn restarts(unit: &str) -> String {
    let file = root().join("packaging/needrestart/qemu-pr-helper-rs.conf").canonicalize().expect("a configuration");
    let output = Command::new("perl").args(["-we", ASK]).arg(file).arg(unit).output().expect("perl starts");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn needrestart_restarts_no_broker_below_its_helper_and_everything_else_as_ever() {
    assert_eq!(restarts("qemu-pr-broker@0-509-996.service"), "0");
    for unit in ["qemu-pr-helper.service", "qemu-pr-exporter.service", "not-qemu-pr-broker@1.service"] {
        assert_eq!(restarts(unit), "default", "{unit}");
    }
}
