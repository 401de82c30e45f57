//! The question before registrations of other initiators are removed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use scsi_persistent_reservations::{InAction, OutAction, ReadKeys, ReservationKey};

use crate::{
    error::{Error, Registered},
    request::Request,
    target::Disk,
};

/// Returns if no other initiator is registered, or the user confirms at the terminal.
pub fn removal(disk: &mut Disk<'_>, request: &Request) -> Result<(), Error> {
    let data = disk.data(InAction::ReadKeys)?;
    let answer = ReadKeys::parse(&data).map_err(|_| disk.too_short(InAction::ReadKeys, &data))?;
    let others = others(answer, request);
    if others == 0 {
        return Ok(());
    }
    let device = disk.path().to_path_buf();
    let error = Error::NotConfirmed { device, action: request.action, others };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(error);
    }
    let question = format!("{}: {}. Send {} anyway? [y/N] ", disk.path().display(), Registered(others), request.action);
    let mut answer = String::new();
    io::stderr()
        .write_all(question.as_bytes())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(Error::Output)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(error) }
}

/// How many registrations of other initiators the request would remove. Those with this host's own key count as its own: a
/// host has one for each of its paths.
fn others(answer: ReadKeys<'_>, request: &Request) -> usize {
    let ends = |key: ReservationKey| match request.action {
        OutAction::Preempt | OutAction::PreemptAndAbort => {
            key != request.key && (request.service_action_key.is_zero() || key == request.service_action_key)
        }
        OutAction::ReplaceLostReservation => true,
        _ => key != request.key,
    };
    answer.keys().filter(|key| ends(*key)).count()
}

#[cfg(test)]
mod tests {
    use scsi_persistent_reservations::{BasicParameters, DataIn, PrOut, ReservationType};

    use super::*;

    #[test]
    fn only_registrations_of_others_that_would_end_count() {
        let mut buffer = [0; 64];
        let mut out = DataIn::new(&mut buffer);
        ReadKeys::write(0, [1, 2, 2, 3].into_iter().map(ReservationKey), &mut out);
        let data = out.finish();
        for (action, key, other, expected) in [
            (OutAction::Clear, 1, 0, 3),
            (OutAction::Clear, 2, 0, 2),
            (OutAction::Preempt, 1, 2, 2),
            (OutAction::Preempt, 2, 2, 0),
            (OutAction::PreemptAndAbort, 1, 0, 3),
            (OutAction::PreemptAndAbort, 1, 9, 0),
            (OutAction::ReplaceLostReservation, 0, 1, 4),
        ] {
            let keys = BasicParameters::keys(ReservationKey(key), ReservationKey(other));
            let request = Request::from(PrOut::new(action, ReservationType::WriteExclusive.code(), keys));
            let answer = ReadKeys::parse(data).expect("keys");
            assert_eq!(others(answer, &request), expected, "{action} by {key} of {other}");
        }
    }
}
