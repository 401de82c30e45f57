//! Which cluster software will work with the disk, by the sequences that it needs.

use std::fmt::Write as _;

use pr_conformance::{COMMON, PRODUCTS, Product, Verdict};
use serde::Serialize;

use super::{
    ports,
    report::{Report, SequenceReport, SequenceResult},
};
use crate::output::terminal;

/// What is known of a product.
#[derive(Serialize)]
pub struct ProductReport {
    name: &'static str,
    works: Works,
    /// Why not, or why that is not known.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Works {
    Yes,
    No,
    /// Everything that was tested is well, and it was not everything.
    AsFarAsTested,
    NotTested,
}

/// The products of which something was tested.
pub fn judge(sequences: &[SequenceReport], pair: bool, writes: bool) -> Vec<ProductReport> {
    let run = |name: &str| sequences.iter().find(|sequence| sequence.name == name);
    // Those that try a type are several products'.
    let is_own = |name: &&&str| !name.starts_with("enforcement");
    let is_concerned = |product: &&Product| product.needs.iter().filter(is_own).any(|name| run(name).is_some());
    PRODUCTS
        .iter()
        .filter(is_concerned)
        .map(|product| {
            let needs = || std::iter::once(&COMMON).chain(product.needs);
            let checked = std::iter::once(&ports::NAME).chain(needs());
            let failed = checked.filter_map(|name| run(name)).find_map(SequenceReport::failure);
            let is_done = |name: &&str| run(name).is_some_and(|sequence| sequence.result == SequenceResult::Passed);
            let missing = needs().find(|name| !is_done(name));
            let (works, reason) = match (failed, missing, pair, writes) {
                (Some(failure), ..) => (Works::No, Some(failure)),
                (None, Some(name), ..) => (Works::NotTested, Some(format!("{name} was not run to its end"))),
                (None, None, false, _) => (Works::AsFarAsTested, Some("needs --second".to_owned())),
                (None, None, true, false) => (Works::AsFarAsTested, Some("needs --write".to_owned())),
                (None, None, true, true) => (Works::Yes, None),
            };
            ProductReport { name: product.name, works, reason }
        })
        .collect()
}

/// The table.
pub fn table(report: &Report, products: &[ProductReport]) -> String {
    let mut text = format!("\n{:<36}  result\n", "will work with");
    for ProductReport { name, works, reason } in products {
        let (verdict, word) = match works {
            Works::Yes => (Verdict::Ok, "yes"),
            Works::No => (Verdict::Failed, "no"),
            Works::AsFarAsTested => (Verdict::Ok, "as far as tested"),
            Works::NotTested => (Verdict::Remark, "not known"),
        };
        let words = reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"));
        let folded = terminal::fold_behind(&" ".repeat(38), &words);
        // Colours take no room, so they come last.
        let folded = folded.trim_start().replacen(word, &report.paint(verdict, word), 1);
        let _ = writeln!(text, "{name:<36}  {folded}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_s_name_fits_its_column() {
        for product in &PRODUCTS {
            assert!(product.name.len() <= 36, "{}", product.name);
        }
    }

    #[test]
    fn what_was_not_run_is_not_known() {
        let passed = |name| SequenceReport::new(name, 1);
        let verdicts = |sequences: &[SequenceReport], pair, writes| {
            judge(sequences, pair, writes).iter().map(|product| (product.name, product.works)).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&["basics", "rules", "enforcement-type-5"].map(passed), true, true), []);
        let all = ["basics", "fence_mpath", "enforcement-type-5"].map(passed);
        let mpath = |pair, writes| {
            let verdicts = verdicts(&all, pair, writes);
            verdicts.iter().find(|(name, _)| name.ends_with("fence_mpath")).map(|(_, works)| *works)
        };
        assert_eq!(mpath(true, true), Some(Works::Yes));
        assert_eq!(mpath(true, false), Some(Works::AsFarAsTested));
        assert_eq!(mpath(false, true), Some(Works::AsFarAsTested));
        let [basics, mut mpath, enforcement] = all;
        mpath.result = SequenceResult::Interrupted;
        let verdicts = verdicts(&[basics, mpath, enforcement], true, true);
        assert_eq!(verdicts, [("Pacemaker: fence_mpath", Works::NotTested)]);
    }
}
