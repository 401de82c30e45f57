//! The one archive format that the kernel unpacks as its first root: `newc` cpio.

use std::io::{self, Write};

/// Writes an archive, entry after entry.
pub struct Archive<W: Write> {
    out: W,
    entries: u32,
}

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | permissions, content)
    }

    /// Ends the archive: without the trailer the kernel takes the rest of memory for entries.
    pub fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size =
            u32::try_from(content.len()).map_err(|_| io::Error::other(format!("{path} is too large for cpio")))?;
        let name_size = u32::try_from(path.len() + 1).map_err(|_| io::Error::other("a path is too long for cpio"))?;
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (2), rdev (2), name size, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        // The header's 110 bytes and the name end on a multiple of four together; so does the content.
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn every_part_starts_on_a_multiple_of_four() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.directory("etc").unwrap();
        archive.file("etc/motd", 0o644, b"hello").unwrap();
        archive.file("init", 0o755, b"#!").unwrap();
        archive.finish().unwrap();

        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<usize> =
            bytes.windows(6).enumerate().filter(|(_, w)| w == b"070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|start| start % 4 == 0));
        let motd = &bytes[starts[1]..starts[2]];
        assert_eq!(&motd[110..118], b"etc/motd");
        assert_eq!(&motd[120..125], b"hello");
        assert_eq!(&motd[54..62], b"00000005");
    }
}
