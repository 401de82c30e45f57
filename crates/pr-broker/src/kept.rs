//! What is known of a map, kept in the file that is its lock: whoever takes the lock next goes on from there, a helper
//! that is started anew as well as another one of this host.
//!
//! There is room for two, of which the newer whole one counts: a death in the middle of writing leaves the one before.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use pr_multipath::Memory;

use super::journal::{CONTENTS, checksum, decode, encode};

/// How it is written. A helper of another version does not read what it may take for something else.
const FORMAT: u8 = 1;

/// Where the two begin.
const PLACES: [u64; 2] = [4096, 4096 + 32 * 1024];

/// A number, a checksum, and how many bytes follow.
const HEADER: usize = 20;

/// The most that follows: the format, the map's uuid and its length (`DM_UUID_LEN` of linux/dm-ioctl.h), the memory.
const LONGEST: usize = 2 + 129 + CONTENTS * 8;

/// What was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// The higher, the later.
    pub number: u64,
    /// The map's uuid: another map may have its device number by now.
    pub uuid: String,
    /// What is known of it.
    pub memory: Memory,
}

impl Kept {
    /// What was kept last; `None` if nothing was.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let mut newest: Option<Self> = None;
        for place in PLACES {
            let kept = one(file, place)?;
            if kept.as_ref().map(|kept| kept.number) > newest.as_ref().map(|kept| kept.number) {
                newest = kept;
            }
        }
        Ok(newest)
    }

    /// Keeps this from now on. Its number is higher than that of what is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let uuid = self.uuid.as_bytes();
        let mut contents = vec![FORMAT, u8::try_from(uuid.len()).map_err(io::Error::other)?];
        contents.extend(uuid);
        contents.extend(encode(&self.memory));
        let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
        let sum = checksum(self.number, &contents);
        let header = [&self.number.to_le_bytes()[..], &sum.to_le_bytes(), &length.to_le_bytes()];
        let place = PLACES[usize::from(!self.number.is_multiple_of(2))];
        file.write_all_at(&[&header.concat()[..], &contents].concat(), place)
    }
}

fn one(file: &File, place: u64) -> io::Result<Option<Kept>> {
    let mut bytes = vec![0; HEADER + LONGEST];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], place + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Kept> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (number, contents) = (u64::from_le_bytes(*number), rest.get(..u32::from_le_bytes(*length).try_into().ok()?)?);
    if u64::from_le_bytes(*sum) != checksum(number, contents) {
        return None;
    }
    let ([FORMAT, length], rest) = contents.split_first_chunk()? else { return None };
    let (uuid, memory) = rest.split_at_checked(usize::from(*length))?;
    Some(Kept { number, uuid: String::from_utf8(uuid.to_vec()).ok()?, memory: decode(memory)? })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use pr_multipath::{Registration, User};
    use rustix::fs::{MemfdFlags, memfd_create};
    use scsi_persistent_reservations::ReservationKey;

    use super::*;

    fn kept(number: u64) -> Kept {
        let registration = Registration { key: ReservationKey(number), ..Registration::NONE };
        let memory = Memory { user: User::Registered(registration), ..Memory::default() };
        Kept { number, uuid: "mpath-36001405".to_owned(), memory }
    }

    fn file() -> File {
        File::from(memfd_create("map", MemfdFlags::CLOEXEC).unwrap())
    }

    #[test]
    fn what_is_kept_last_is_found() {
        let file = file();
        assert_eq!(Kept::read(&file).unwrap(), None);
        for number in 1..5 {
            kept(number).write(&file).unwrap();
            assert_eq!(Kept::read(&file).unwrap(), Some(kept(number)));
        }
    }

    #[test]
    fn a_death_in_the_middle_of_writing_leaves_what_was_there() {
        let file = file();
        kept(1).write(&file).unwrap();
        kept(2).write(&file).unwrap();
        let mut second = vec![0; HEADER + 64];
        let length = file.read_at(&mut second, PLACES[0]).unwrap();
        for cut in 0..length {
            // So much of the third is there, over the first.
            kept(3).write(&file).unwrap();
            let zeros = vec![0xee; LONGEST - cut];
            file.write_all_at(&zeros, PLACES[1] + cut as u64).unwrap();
            let found = Kept::read(&file).unwrap();
            assert!(found == Some(kept(2)) || found == Some(kept(3)), "{cut}: {found:?}");
        }
    }

    #[test]
    fn what_another_version_has_kept_is_not_read() {
        let file = file();
        kept(2).write(&file).unwrap();
        let mut contents = [FORMAT + 1, 0];
        let sum = checksum(4, &contents);
        let length = u32::try_from(contents.len()).unwrap();
        let bytes = |contents: &[u8], sum: u64| {
            [&4_u64.to_le_bytes()[..], &sum.to_le_bytes(), &length.to_le_bytes(), contents].concat()
        };
        file.write_all_at(&bytes(&contents, sum), PLACES[0]).unwrap();
        assert_eq!(Kept::read(&file).unwrap(), None);
        contents[0] = FORMAT;
        let sum = checksum(4, &contents);
        file.write_all_at(&bytes(&contents, sum), PLACES[0]).unwrap();
        assert_eq!(Kept::read(&file).unwrap(), None, "nor what is no memory");
    }
}
