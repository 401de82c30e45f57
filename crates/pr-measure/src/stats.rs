//! The little statistics there is: a noisy machine is beaten by interleaving and by the median, not by formulas.

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    // Two infinities have no mean that arithmetic knows.
    Some(if low.total_cmp(high).is_eq() { *low } else { f64::midpoint(*low, *high) })
}

/// The value below which this part of all values lies (nearest rank); `None` of nothing.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let sorted = sorted(values);
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a length")]
    #[expect(clippy::cast_precision_loss, reason = "there are never so many values")]
    let rank = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
    sorted.get(rank.min(last)).copied()
}

/// One value over the other, round by round: what slows one round down slows both down.
pub fn ratios(values: &[f64], over: &[f64]) -> Vec<f64> {
    values.iter().zip(over).filter(|(_, over)| **over > 0.0).map(|(value, over)| value / over).collect()
}

/// The order of the subjects in each round, A B B A: a machine that grows slower or faster favours nobody.
pub fn order(round: usize, subjects: usize) -> Vec<usize> {
    let forward = 0..subjects;
    if round.is_multiple_of(2) { forward.collect() } else { forward.rev().collect() }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order_and_nothing_has_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        assert_eq!(median(&[2.0, 2.0, 2.0, 2.0, 900.0]), Some(2.0));
    }

    #[test]
    fn no_answer_is_the_largest_of_all_times() {
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(quantile(&[1.0, f64::INFINITY, 2.0], 1.0), Some(f64::INFINITY));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.0), Some(0.0));
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        assert_eq!(ratios(&[2.0, 8.0], &[1.0, 2.0]), [2.0, 4.0]);
        assert_eq!(ratios(&[2.0, 8.0], &[0.0, 2.0]), [4.0]);
    }

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(order(0, 3), [0, 1, 2]);
        assert_eq!(order(1, 3), [2, 1, 0]);
    }
}
