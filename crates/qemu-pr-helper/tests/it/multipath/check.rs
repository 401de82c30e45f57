//! `--check`.

use crate::multipath::lab::Lab;

#[test]
fn check_says_what_is_missing() {
    let lab = Lab::without_multipathd();
    let found = Lab::without_control(lab.enter(lab.bed().launch().bare())).arg("--check").run();
    assert_eq!((found.code(), found.stderr.as_str()), (1, ""));
    assert!(found.stdout.contains("MISSING  device-mapper      /dev/mapper/control: "), "{}", found.stdout);
    assert!(found.stdout.contains("MISSING  multipathd"), "{}", found.stdout);

    let lab = Lab::new();
    let found = lab.enter(lab.bed().launch().bare()).arg("--check").run();
    assert_eq!((found.code(), found.stderr.as_str()), (0, ""), "{}", found.stdout);
    assert!(!found.stdout.contains("MISSING"), "{}", found.stdout);
    for line in ["ok       device-mapper", "ok       multipathd", "ok       rights"] {
        assert!(found.stdout.contains(line), "{}", found.stdout);
    }
}
