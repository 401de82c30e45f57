//! The page about Proxmox VE: the script on it is the one that is shipped, and the arguments are those that a QEMU gets when
//! the manual is followed on a host.

use e2e::page::{self, Place, Step};

use crate::{documents::read, text};

/// The file that the page has written to this place.
fn written(place: &str) -> String {
    let steps = page::steps(&text("proxmox.md")).expect("a page");
    let found = steps.into_iter().find_map(|step| match step {
        Step::Write { path, text, .. } if path == place => Some(text),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing is written to {place}"))
}

#[test]
fn the_script_of_the_proxmox_page_is_the_one_in_the_package() {
    assert_eq!(written("/tmp/qemu-pr-hookscript"), read("packaging/proxmox/qemu-pr-hookscript"));
    let deb = read("crates/qemu-pr-helper/Cargo.toml");
    let asset = r#"["../../packaging/proxmox/qemu-pr-hookscript", "usr/share/doc/qemu-pr-helper-rs/examples/", "755"]"#;
    assert!(deb.contains(asset), "it is not in the Debian package");
}

#[test]
fn the_arguments_of_the_proxmox_page_are_given_to_a_qemu() {
    let file = written("/tmp/101.conf");
    let arguments = file.lines().find_map(|line| line.strip_prefix("args: ")).expect("arguments");
    let typed = page::steps(&text("proxmox.md")).expect("a page").into_iter().any(|step| match step {
        Step::Run(run) if run.place == Place::Host => {
            let words: Vec<_> = run.command.split_whitespace().filter(|word| *word != "\\").collect();
            run.command.starts_with("qemu-system-x86_64 ") && words.join(" ").ends_with(arguments)
        }
        _ => false,
    });
    assert!(typed, "no command on the page starts a QEMU with {arguments}");
}
