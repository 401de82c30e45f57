//! dm-multipath on a machine that has none: loop devices that sysfs calls multipath maps, `SG_IO` answered by the laboratory, and a
//! libmpathpersist that does what the test says. What is real is the daemon, its broker and the broker's children.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod answers;
mod broker;
mod clear;
mod codes;
mod crashes;
mod devices;
mod disk;
mod faults;
mod lab;
mod library;
mod one_disk;
mod parallel;
mod preempt;
mod register;
mod release;
mod reserve;
mod unit;
