//! Memory that a start needs, and nothing after it.

use std::{
    ffi::{c_int, c_void},
    ptr, slice,
};

/// Lets go of the pages of the program and its libraries that are in memory by now, code and constants. Most of them
/// have been of use for the last time: the command line, the settings, the walls. What is needed after all comes back
/// from the system's cache when it is touched, sixteen pages at a time, and from then on stays; the first client pays
/// for that with some fifty microseconds. The cache itself is not touched.
pub fn forget_start() {
    // SAFETY: `forget` keeps to what it is given.
    unsafe { libc::dl_iterate_phdr(Some(forget), ptr::null_mut()) };
}

/// Does that for the program or one of its libraries.
///
/// # Safety
/// `object` is what `dl_iterate_phdr` hands over.
unsafe extern "C" fn forget(object: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut c_void) -> c_int {
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1);
    // SAFETY: the C library hands over a whole structure, which nobody changes meanwhile.
    let object = unsafe { &*object };
    // SAFETY: it says where the headers are and how many, and they stay as long as the object.
    let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    // Where a header's part of the object lies, and how long it is.
    let place = |header: &Header| {
        let start = usize::try_from(object.dlpi_addr.wrapping_add(header.p_vaddr)).ok()?;
        Some((start, usize::try_from(header.p_memsz).ok()?))
    };
    let mut tables = headers.iter().filter(|header| header.p_type == libc::PT_DYNAMIC).filter_map(place);
    if tables.any(|(start, length)| is_patched(start, length)) {
        return 0;
    }
    let is_fixed = |header: &&Header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    for (start, length) in headers.iter().filter(is_fixed).filter_map(place) {
        // Whole pages alone: what shares a page with this may be written to.
        let first = start.next_multiple_of(page);
        let end = start.saturating_add(length) / page * page;
        if first < end {
            // SAFETY: the pages are a file's, mapped for reading and never written to: the kernel reads the same again.
            // If it will not let go of them, they stay.
            unsafe { libc::madvise(ptr::without_provenance_mut(first), end - first, libc::MADV_DONTNEED) };
        }
    }
    0
}

/// Whether the loader has written to an object's code (`DT_TEXTREL`), going by its table: the file does not have that.
fn is_patched(start: usize, length: usize) -> bool {
    // SAFETY: the table of a loaded object stays as long as the object; its entries are two words each, and it is
    // aligned for them.
    let entries: &[[usize; 2]] =
        unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(start), length / size_of::<[usize; 2]>()) };
    let mut entries = entries.iter().take_while(|[tag, _]| *tag != DT_NULL);
    entries.any(|[tag, value]| *tag == DT_TEXTREL || *tag == DT_FLAGS && value & DF_TEXTREL != 0)
}

#[cfg(target_pointer_width = "64")]
type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Header = libc::Elf32_Phdr;

/// Tags and a flag of an object's table (`<elf.h>`).
const DT_NULL: usize = 0;
const DT_TEXTREL: usize = 22;
const DT_FLAGS: usize = 30;
const DF_TEXTREL: usize = 4;

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn an_object_whose_code_was_written_to_keeps_it() {
        let told = |entries: &[[usize; 2]]| is_patched(entries.as_ptr().expose_provenance(), size_of_val(entries));
        assert!(!told(&[[1, 5], [DT_FLAGS, 8], [DT_NULL, 0], [DT_TEXTREL, 0]]));
        assert!(told(&[[1, 5], [DT_TEXTREL, 0], [DT_NULL, 0]]));
        assert!(told(&[[DT_FLAGS, 8 | DF_TEXTREL], [DT_NULL, 0]]));
        assert!(!told(&[[1, 5]]));
    }

    #[test]
    fn the_program_goes_on_with_what_comes_back() {
        let words = || std::hint::black_box("words that the program is made of").to_owned();
        let before = words();
        forget_start();
        assert_eq!(words(), before);
    }
}
