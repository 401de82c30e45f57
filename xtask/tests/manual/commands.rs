//! What the manual says to type is typed, and what it says is printed comes.

use e2e::page::{self, Place, Run, Step};

use crate::world::World;
use crate::{pages, text};

/// Follows one page; everything that is not as it says.
fn follow(name: &str) -> Vec<String> {
    let steps = page::steps(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let here = |step: &&Step| match step {
        Step::Run(run) => run.place == Place::Laboratory,
        Step::Write { place, .. } => *place == Place::Laboratory,
    };
    let steps: Vec<&Step> = steps.iter().filter(here).collect();
    if !steps.iter().any(|step| matches!(step, Step::Run(_))) {
        return Vec::new();
    }
    let mut world = World::new();
    let mut objections = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Write { path, text, .. } => {
                let (status, printed) = world
                    .session
                    .run(&format!("cat >{path} <<'END OF THE FILE'\n{text}END OF THE FILE"))
                    .expect("a shell");
                assert_eq!((status, printed.trim()), (0, ""), "{name}: {path}");
            }
            Step::Run(run) => {
                let (status, printed) =
                    world.session.run(&run.command).unwrap_or_else(|error| panic!("{name}: {error}"));
                objections.extend(run.objection(&printed).map(|objection| format!("{name}, {objection}")));
                let next = steps.get(index + 1).and_then(|step| match step {
                    Step::Run(run) => Some(run),
                    Step::Write { .. } => None,
                });
                if status != 0 && !next.is_some_and(Run::asks_for_status) {
                    objections.push(format!("{name}, line {}: '{}' fails with {status}", run.line, run.command));
                }
            }
        }
    }
    objections
}

#[test]
fn each_command_prints_what_the_manual_says() {
    let objections: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = pages().into_iter().map(|name| scope.spawn(move || follow(&name))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a page")).collect()
    });
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn a_page_that_is_wrong_is_found_out() {
    let page = "```console\n$ echo a; echo b c d\na\nb … d\n$ echo x\ny\n```\n";
    let steps = page::steps(page).expect("a page");
    let [Step::Run(right), Step::Run(wrong)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(right.objection("a\nb c d\n"), None);
    assert!(right.objection("a\nb c\n").is_some() && right.objection("a\n").is_some());
    assert!(right.objection("a\nb c d\nmore\n").is_some());
    assert!(wrong.objection("x\n").is_some_and(|objection| objection.starts_with("line 5: 'echo x'")));
}

#[test]
fn lines_that_are_left_out_may_be_any_number() {
    let run = |printed: &str| {
        let page = format!("```console\n$ it\n{printed}\n```\n");
        match page::steps(&page).expect("a page").remove(0) {
            Step::Run(run) => run,
            step @ Step::Write { .. } => panic!("{step:?}"),
        }
    };
    assert_eq!(run("first\n…\nlast").objection("first\nlast"), None);
    assert_eq!(run("first\n…\nlast").objection("first\nx\ny\nlast\n"), None);
    assert!(run("first\n…\nlast").objection("first\nlast\nx").is_some());
    assert_eq!(run("…").objection(""), None);
}

/// On a system that no test has: each is one more thing that nobody sees go wrong.
const ELSEWHERE: usize = 3;

#[test]
fn a_command_in_a_block_of_another_kind_is_found_out() {
    for page in ["```sh\n$ true\n```\n", "  ```\n  $ true\n  ```\n", "```console,nowhere\n$ true\n```\n", "```text\n"] {
        assert!(page::steps(page).is_err(), "{page}");
    }
}

#[test]
fn no_command_stands_where_nobody_runs_it() {
    let mut elsewhere = Vec::new();
    for name in pages() {
        let text = text(&name);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for step in page::steps(&text).unwrap_or_else(|error| panic!("{name}: {error}")) {
            match step {
                Step::Run(run) if run.place == Place::Elsewhere => {
                    assert!(flat.contains("no test of this project runs"), "{name}: it has to say so: {}", run.command);
                    elsewhere.push(run.command);
                }
                _ => {}
            }
        }
    }
    assert!(elsewhere.len() <= ELSEWHERE, "{elsewhere:?}");
}
