//! `compare`: the answers of the helper and those of the disk without it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::InAction;
use serde::Serialize;

use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    output::{
        json::{self, About},
        terminal,
    },
    request::Access,
    target::{Device, Disk},
};

/// The bytes on one line: two columns of them, and the offset, fit 80 columns.
const ROW: usize = 8;

#[derive(Serialize)]
struct Shape {
    same: bool,
    answers: Vec<Pair>,
}

#[derive(Serialize)]
struct Pair {
    action: String,
    same: bool,
    helper: Side,
    direct: Side,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Side {
    status: u8,
    sense: Option<String>,
    #[serde(serialize_with = "hexadecimal")]
    data: Vec<u8>,
    #[serde(skip)]
    words: String,
}

impl From<Reply> for Side {
    fn from(reply: Reply) -> Self {
        let sense = reply.sense.code().map(|code| code.to_string());
        let words = match &sense {
            Some(sense) => sense.clone(),
            None => format!("{}, {} bytes", reply.status, reply.data.len()),
        };
        Self { status: reply.status.0, sense, data: reply.data, words }
    }
}

fn hexadecimal<S: serde::Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(data, ""))
}

fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}{between}");
        text
    })
}

/// Read with and without the helper, and compare the answers
///
/// Sends each PERSISTENT RESERVE IN command through the helper and without it.
/// If the answers are the same, the exit status is 0 and the helper is not the
/// cause of a fault; otherwise it is 36.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Compare {
    /// Disk, for example /dev/sdb or /dev/disk/by-id/...
    #[arg(value_name = "DEVICE")]
    device: PathBuf,
}

impl Run for Compare {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        run(global, &self.device)
    }
}

/// Sends each PERSISTENT RESERVE IN both ways; the exit status.
fn run(global: &Global, path: &Path) -> Result<u8, Error> {
    let device = |direct| Device { path: path.to_path_buf(), direct };
    let mut helper = Disk::open(&global.helper, &device(false), Access::Read)?;
    let mut direct = Disk::open(&global.helper, &device(true), Access::Read)?;
    let mut answers = Vec::new();
    for action in InAction::ALL {
        // A unit attention is reported once, to the first command: it would look like a difference.
        let first = direct.ask_settled(*action)?;
        let (helper, direct) = (Side::from(helper.ask_settled(*action)?), Side::from(first));
        answers.push(Pair { action: action.to_string(), same: helper == direct, helper, direct });
    }
    let same = answers.iter().all(|pair| pair.same);
    if global.json {
        json::print(&About { device: path, answer: Shape { same, answers } })?;
    } else {
        terminal::print(&answers.iter().map(text).collect::<String>())?;
    }
    Ok(if same { exit::GOOD } else { exit::NEGATIVE })
}

fn text(Pair { action, same, helper, direct }: &Pair) -> String {
    let mut text = format!("{action}: {}\n", if *same { "the same" } else { "DIFFERENT" });
    let _ = writeln!(text, "{}", terminal::fold_behind("  through the helper  ", &helper.words));
    let _ = writeln!(text, "{}", terminal::fold_behind("  directly            ", &direct.words));
    let length = helper.data.len().max(direct.data.len());
    for offset in (0..length).step_by(ROW) {
        let part = |data: &[u8]| -> Vec<u8> { data.iter().skip(offset).take(ROW).copied().collect() };
        let (left, right) = (part(&helper.data), part(&direct.data));
        let mark = if left == right { ' ' } else { '*' };
        let line = format!("  {offset:04x} {mark} {:<24}  |  {}", hex(&left, " "), hex(&right, " "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(data: &[u8]) -> Side {
        Side { status: 0, sense: None, data: data.to_vec(), words: format!("GOOD, {} bytes", data.len()) }
    }

    #[test]
    fn differences_stand_side_by_side_and_are_marked() {
        let pair = Pair {
            action: "READ KEYS".to_owned(),
            same: false,
            helper: side(&[0, 0, 0, 1, 0, 0, 0, 8, 1]),
            direct: side(&[0, 0, 0, 1, 0, 0, 0, 8, 2, 3]),
        };
        assert_eq!(
            text(&pair),
            "READ KEYS: DIFFERENT\n  \
             through the helper  GOOD, 9 bytes\n  \
             directly            GOOD, 10 bytes\n  \
             0000   00 00 00 01 00 00 00 08   |  00 00 00 01 00 00 00 08\n  \
             0008 * 01                        |  02 03\n"
        );
    }
}
