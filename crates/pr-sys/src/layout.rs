//! What others read and write as bytes, held to the layout that their headers give it, when this program is compiled.

/// Size, alignment and the place of each field of a structure, as its header has them on a machine of 64 bits.
macro_rules! layout {
    ($name:ty, $size:literal, $align:literal, $($field:ident $offset:literal)+) => {
        #[cfg(target_pointer_width = "64")]
        const _: () = {
            assert!(size_of::<$name>() == $size && align_of::<$name>() == $align);
            $(assert!(std::mem::offset_of!($name, $field) == $offset);)+
        };
    };
}

pub(super) use layout;
