//! Tests that are another user for a while.

use std::thread;

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// Runs `act` as another user, who is in this group and in no other.
pub fn as_user<T: Send>(user: u32, group: u32, act: impl FnOnce() -> T + Send) -> T {
    // These calls are about one thread alone.
    let become_user = || {
        let (gid, uid) = (Gid::from_raw(group), Uid::from_raw(user));
        set_thread_groups(&[]).and_then(|()| set_thread_res_gid(gid, gid, gid)).expect("another group");
        set_thread_res_uid(uid, uid, uid).expect("another user");
        act()
    };
    thread::scope(|scope| scope.spawn(become_user).join().expect("no panic"))
}
