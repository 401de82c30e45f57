//! `--trace-backend ftrace`: events among the kernel's own, in the order in which they happened.

use std::{
    fs::File,
    io::{self, Write},
};

use thiserror::Error;

/// Where the file is: on its own mount, and where older setups have it.
const MARKERS: [&str; 2] = ["/sys/kernel/tracing/trace_marker", "/sys/kernel/debug/tracing/trace_marker"];

/// The marker cannot be opened.
#[derive(Debug, Error)]
#[error(
    "cannot open the kernel's trace marker {}: {error}; mount it (mount -t tracefs tracefs /sys/kernel/tracing) and \
     start the program as root, or leave --trace-backend ftrace out",
    MARKERS[0]
)]
pub struct MarkerError {
    error: io::Error,
}

/// Opens the marker. Later nothing can be opened.
pub fn open() -> Result<File, MarkerError> {
    first_of(&MARKERS)
}

/// The reason why the first one cannot be opened is the one to tell: it is where the marker belongs.
fn first_of(markers: &[&str; 2]) -> Result<File, MarkerError> {
    let open = |path: &str| File::options().write(true).open(path);
    open(markers[0]).or_else(|error| open(markers[1]).map_err(|_| MarkerError { error }))
}

/// Writes one trace. The kernel makes an event of every write, so there is one for each.
pub fn write(mut marker: &File, text: &str) -> io::Result<()> {
    marker.write_all(text.as_bytes())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_older_place_will_do() {
        assert!(first_of(&["/nonexistent/trace_marker", "/dev/null"]).is_ok());
        assert!(first_of(&["/dev/null", "/nonexistent/trace_marker"]).is_ok());
    }

    #[test]
    fn without_a_marker_path_reason_and_remedy_are_named() {
        let missing = "/nonexistent/trace_marker";
        let error = first_of(&[missing, missing]).expect_err("no marker").to_string();
        for part in [MARKERS[0], "No such file", "mount -t tracefs", "--trace-backend"] {
            assert!(error.contains(part), "no {part} in {error}");
        }
    }

    #[test]
    fn each_trace_is_one_write() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let marker = File::from(std::os::fd::OwnedFd::from(writer));
        write(&marker, "event a=1").expect("room");
        write(&marker, "event b=2").expect("room");
        drop(marker);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "event a=1event b=2");
    }
}
