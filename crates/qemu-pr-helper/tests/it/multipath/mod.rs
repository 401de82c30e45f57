//! dm-multipath on a machine that has none: loop devices that sysfs calls multipath maps, and `SG_IO`, device-mapper and multipathd
//! played by the laboratory. What is real is the daemon, and its broker with keeper and workers.

mod answers;
mod broker;
mod check;
mod commands;
mod deaths;
mod devices;
mod disk;
mod faults;
mod figures;
mod helpers;
mod lab;
mod mapped;
mod multipathd;
mod one_disk;
mod parallel;
mod paths;
mod register;
mod unit;
