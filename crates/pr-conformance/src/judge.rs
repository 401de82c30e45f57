//! Plays the steps of a sequence, and judges their answers.

use std::fmt::Display;

use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{ReadKeys, Status};

use crate::{Command, Expect, Step, Verdict};

/// How often a command that met a unit attention is sent again: libmpathpersist tries five times.
pub const TRIES: usize = 5;

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// How the answer compares with the expected one.
    pub verdict: Verdict,
    /// The expected answer in words.
    pub expected: String,
    /// The answer in words.
    pub received: String,
    /// The unit attentions that came first.
    pub attentions: Vec<String>,
}

/// Judges the steps of one sequence, and knows what has to have changed from one to the next.
#[derive(Debug, Default)]
pub struct Judge {
    /// PRGENERATION as it was read last, and whether it has to have changed since.
    generation: Option<u32>,
    counted: bool,
    /// Whether there was a change since, counted or not.
    changed: bool,
}

impl Judge {
    /// Plays one step; `send` has a command carried out for the step's initiator, whatever the disk answers.
    pub fn play<E: Display>(&mut self, step: &Step, send: impl FnMut(&Command) -> Result<Reply, E>) -> StepReport {
        let expected = step.expect.to_string();
        let mut attentions = Vec::new();
        let reply = match answer(step, send, &mut attentions) {
            Ok(reply) => reply,
            Err(error) => {
                return StepReport { verdict: Verdict::Failed, expected, received: error.to_string(), attentions };
            }
        };
        let (verdict, received) = step.expect.compare(&reply);
        if let (Verdict::Ok, Some((verdict, expected, received))) = (verdict, self.count(step, &reply)) {
            return StepReport { verdict, expected, received, attentions };
        }
        StepReport { verdict, expected, received, attentions }
    }

    /// Checks that PRGENERATION changes when registrations do; if not, what was expected and what was received. No software
    /// fails where it changes without a reason.
    fn count(&mut self, step: &Step, reply: &Reply) -> Option<(Verdict, String, String)> {
        self.changed |= matches!(step.command, Command::Change(_));
        if reply.status == Status::GOOD && step.command.counts() {
            self.counted = true;
        }
        let Expect::Keys(_) = step.expect else { return None };
        let generation = ReadKeys::parse(&reply.data).ok()?.generation;
        let before = self.generation.replace(generation);
        let (counted, changed) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.changed));
        match before? {
            before if before == generation && counted => {
                Some((Verdict::Failed, format!("PRGENERATION above {before}"), format!("PRGENERATION still {before}")))
            }
            before if before != generation && !changed => {
                let received = format!("PRGENERATION {generation} after no change");
                Some((Verdict::Remark, format!("PRGENERATION still {before}"), received))
            }
            _ => None,
        }
    }
}

/// The answer to a step's command, which is sent again after unit attentions unless one is what the step is about.
fn answer<E>(
    step: &Step,
    mut send: impl FnMut(&Command) -> Result<Reply, E>,
    attentions: &mut Vec<String>,
) -> Result<Reply, E> {
    let mut reply = send(&step.command)?;
    if matches!(step.expect, Expect::UnitAttention(_)) {
        return Ok(reply);
    }
    for _ in 0..TRIES {
        if !reply.is_unit_attention() {
            break;
        }
        attentions.push(reply.to_string());
        reply = send(&step.command)?;
    }
    Ok(reply)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use scsi_persistent_reservations::{InAction, PrOut, ReservationKey, Sense, SenseCode};

    use super::*;
    use crate::Initiator;

    const KEY: ReservationKey = ReservationKey(7);
    const GOOD: Reply = Reply { status: Status::GOOD, sense: Sense::NONE, data: Vec::new() };

    fn step(command: Command, expect: Expect) -> Step {
        Step { initiator: Initiator::One, name: "does it", command, expect }
    }

    fn register() -> Step {
        step(Command::Change(PrOut::register(ReservationKey::ZERO, KEY)), Expect::Good)
    }

    fn read(expect: Expect) -> Step {
        step(Command::Read(InAction::ReadKeys, 8192), expect)
    }

    fn no_keys(generation: u8) -> Reply {
        Reply { data: vec![0, 0, 0, generation, 0, 0, 0, 0], ..GOOD }
    }

    fn attention() -> Reply {
        Reply {
            status: Status::CHECK_CONDITION,
            sense: Sense::fixed(SenseCode::RESERVATIONS_RELEASED),
            data: Vec::new(),
        }
    }

    /// Plays a step to which these answers come, the last of them for ever; the report, and how often it was sent.
    fn play(judge: &mut Judge, step: &Step, replies: &[Reply]) -> (StepReport, usize) {
        let mut sent = 0;
        let report = judge.play(step, |_| {
            sent += 1;
            replies.get(sent - 1).or(replies.last()).cloned().ok_or("no answer")
        });
        (report, sent)
    }

    #[test]
    fn a_command_is_sent_again_after_unit_attentions_but_not_for_ever() {
        let (report, sent) = play(&mut Judge::default(), &register(), &[attention(), attention(), GOOD]);
        assert_eq!((report.verdict, report.attentions.len(), sent), (Verdict::Ok, 2, 3));
        let (report, sent) = play(&mut Judge::default(), &register(), &[attention()]);
        assert_eq!((report.verdict, report.attentions.len(), sent), (Verdict::Failed, TRIES, TRIES + 1));
    }

    #[test]
    fn a_unit_attention_that_a_step_is_about_is_its_answer() {
        let step = read(Expect::UnitAttention(SenseCode::RESERVATIONS_RELEASED));
        let (report, sent) = play(&mut Judge::default(), &step, &[attention(), no_keys(0)]);
        assert_eq!((report.verdict, report.attentions.len(), sent), (Verdict::Ok, 0, 1));
    }

    #[test]
    fn an_error_fails_the_step_in_its_own_words() {
        let (report, _) = play(&mut Judge::default(), &register(), &[]);
        assert_eq!(
            (report.verdict, report.expected, report.received),
            (Verdict::Failed, "GOOD".to_owned(), "no answer".to_owned())
        );
    }

    #[test]
    fn prgeneration_that_changes_without_a_change_is_worth_a_remark() {
        let keys = read(Expect::Keys(Vec::new()));
        let mut judge = Judge::default();
        for (step, reply, verdict) in [
            (&keys, no_keys(3), Verdict::Ok),
            (&keys, no_keys(4), Verdict::Remark),
            (&step(Command::Change(PrOut::register(KEY, ReservationKey::ZERO)), Expect::Good), GOOD, Verdict::Ok),
            (&keys, no_keys(5), Verdict::Ok),
        ] {
            assert_eq!(play(&mut judge, step, &[reply]).0.verdict, verdict);
        }
    }

    #[test]
    fn prgeneration_has_to_change_where_a_change_is_counted() {
        let keys = read(Expect::Keys(Vec::new()));
        let mut judge = Judge::default();
        for (step, reply, verdict) in [
            (&keys, no_keys(3), Verdict::Ok),
            (&keys, no_keys(3), Verdict::Ok),
            (&register(), GOOD, Verdict::Ok),
            (&keys, no_keys(4), Verdict::Ok),
            (&register(), GOOD, Verdict::Ok),
            (&keys, no_keys(4), Verdict::Failed),
        ] {
            assert_eq!(play(&mut judge, step, &[reply]).0.verdict, verdict);
        }
    }
}
