//! Users and groups by name.

use std::{collections::BTreeMap, ffi::CString};

use pr_sys::users;

/// Looks up the numbers of users and groups.
pub trait UserDb {
    /// The number of a user.
    fn user(&self, name: &str) -> Option<u32>;
    /// The number of a group.
    fn group(&self, name: &str) -> Option<u32>;
}

/// This system's, which a program that serves cannot open any more.
pub struct SystemUsers;

impl UserDb for SystemUsers {
    fn user(&self, name: &str) -> Option<u32> {
        users::user_id(&CString::new(name).ok()?).ok()?
    }

    fn group(&self, name: &str) -> Option<u32> {
        users::group_id(&CString::new(name).ok()?).ok()?
    }
}

/// Numbers that another program has looked up: they come with `qemu-pr-ctl reload`.
pub struct ProvidedIds {
    /// Users by name.
    pub users: BTreeMap<String, u32>,
    /// Groups by name.
    pub groups: BTreeMap<String, u32>,
}

impl UserDb for ProvidedIds {
    fn user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }
}
