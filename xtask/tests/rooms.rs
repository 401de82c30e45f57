//! No two rooms of a crate import each other, not even by way of a third.
//!
//! A room is a module of the crate's root: a file of `src`, or a directory with all that is in it. An import is any path
//! of the code that leads to another room, in a `use` or elsewhere, in macros too; tests may import what they like. The
//! root imports every room, so a room that imports from the root makes a circle as well, unless the root only passes on
//! (`pub use`) what is in another room.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

#[path = "manual/test_code.rs"]
mod test_code;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use test_code::test_item;

/// The crates that are judged.
#[rustfmt::skip]
const CRATES: &[&str] = &[
    "pr-bench",
    "pr-broker",
    "pr-conformance",
    "pr-control",
    "pr-dev",
    "pr-device",
    "pr-dist",
    "pr-measure",
    "pr-resolver",
    "pr-sandbox",
    "pr-sys",
    "qemu-pr-ctl",
    "qemu-pr-exporter",
    "qemu-pr-helper",
];

/// The same of those that are elsewhere: the directories of their roots.
const ELSEWHERE: [&str; 3] = ["tests/e2e/inside", "tests/e2e/src", "xtask/src"];

/// The name of a crate's root among its rooms.
const ROOT: &str = "the root";

/// What imports what, with one place where it does.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

/// A source file: its name below `src`, and its text.
type Source = (String, String);

/// The sources of a crate, without those that are tests only.
fn sources(directory: &Path, below: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("an entry").path();
        let name = format!("{below}{}", path.file_name().expect("a name").display());
        if path.is_dir() {
            self::sources(&path, &format!("{name}/"), sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests.rs") {
            sources.push((name, fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// The module that a file is: nothing for the root, otherwise its path.
fn module_of(file: &str) -> Vec<String> {
    let mut names: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let is_of_directory = names.last().is_some_and(|last| last == "mod");
    if is_of_directory || names.len() == 1 && matches!(file, "lib.rs" | "main.rs") {
        names.pop();
    }
    names
}

/// A path of the code as it stands there, with the name that a `use` gives to its end.
struct Named {
    path: Vec<String>,
    name: String,
}

/// What is found in one file.
#[derive(Default)]
struct Found {
    /// Each path, with the module that it stands in.
    paths: Vec<(Vec<String>, Named)>,
    /// The macros that are defined.
    macros: Vec<String>,
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether `::` stands here.
fn is_separator(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

/// Walks through the code of a module.
fn walk(stream: TokenStream, module: &[String], found: &mut Found) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut index = 0;
    while index < tokens.len() {
        let rest = &tokens[index..];
        if let Some(skipped) = test_item(rest) {
            index += skipped;
            continue;
        }
        match rest {
            [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(body), ..] if keyword == "mod" => {
                let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                walk(body.stream(), &inner, found);
                index += 3;
            }
            [TokenTree::Ident(keyword), TokenTree::Punct(bang), TokenTree::Ident(name), ..]
                if keyword == "macro_rules" && bang.as_char() == '!' =>
            {
                found.macros.push(name.to_string());
                index += 3;
            }
            [TokenTree::Ident(keyword), ..] if keyword == "use" => {
                let end = rest.iter().position(|token| is_punct(Some(token), ';')).unwrap_or(rest.len());
                let mut named = Vec::new();
                use_tree(&rest[1..end], &[], &mut named);
                found.paths.extend(named.into_iter().map(|named| (module.to_vec(), named)));
                index += end;
            }
            // An absolute path somewhere in the code. `a::self` and the like do not begin one.
            [TokenTree::Ident(first), after @ ..]
                if (first == "crate" || first == "super" || first == "self") && is_separator(after) =>
            {
                let mut named = Vec::new();
                let end = path_end(rest);
                use_tree(&rest[..end], &[], &mut named);
                found.paths.extend(named.into_iter().map(|named| (module.to_vec(), named)));
                index += end;
            }
            [TokenTree::Group(group), ..] => {
                walk(group.stream(), module, found);
                index += 1;
            }
            _ => index += 1,
        }
    }
}

/// How many tokens the path at the beginning of these takes.
fn path_end(tokens: &[TokenTree]) -> usize {
    let mut end = 1;
    while is_separator(&tokens[end..]) && matches!(tokens.get(end + 2), Some(TokenTree::Ident(_))) {
        end += 3;
    }
    end
}

/// The paths of a `use`, of which there are several with braces.
fn use_tree(tokens: &[TokenTree], before: &[String], found: &mut Vec<Named>) {
    // Behind a trailing comma there is nothing.
    for branch in tokens.split(|token| is_punct(Some(token), ',')).filter(|branch| !branch.is_empty()) {
        let mut path = before.to_vec();
        let mut name = None;
        let mut rest = branch;
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                TokenTree::Ident(keyword) if keyword == "as" => {
                    name = after.first().map(ToString::to_string);
                    break;
                }
                // `a::{self}` is `a`.
                TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    use_tree(&inner, &path, found);
                    path.clear();
                    break;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let Some(last) = path.last() {
            found.push(Named { name: name.unwrap_or_else(|| last.clone()), path });
        }
    }
}

/// The path from the crate's root on; `None` for another crate's.
fn resolved(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let (_, parent) = module.split_last()?;
            if rest.first().is_some_and(|next| next == "super") {
                return resolved(rest, parent);
            }
            Some([parent, rest].concat())
        }
        // In the root a room is named as another crate is.
        _ => module.is_empty().then(|| path.to_vec()),
    }
}

/// Which room imports which, the root included.
fn imports(sources: &[Source]) -> Imports {
    let rooms: BTreeSet<String> = sources.iter().filter_map(|(file, _)| module_of(file).into_iter().next()).collect();
    let mut all = Vec::new();
    // What the root has that is another room's: macros, and what it passes on.
    let mut passed_on: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in sources {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = module_of(file);
        let mut found = Found::default();
        walk(stream, &module, &mut found);
        match module.first() {
            Some(room) => passed_on.extend(found.macros.into_iter().map(|name| (name, room.clone()))),
            None => passed_on.extend(found.paths.iter().filter_map(|(module, named)| {
                let room = resolved(&named.path, module)?.into_iter().next()?;
                rooms.contains(&room).then(|| (named.name.clone(), room))
            })),
        }
        all.push((file, module, found.paths));
    }
    let mut imports = Imports::new();
    imports.insert(ROOT.to_owned(), rooms.iter().map(|room| (room.clone(), "mod".to_owned())).collect());
    for (file, module, paths) in all {
        let Some(room) = module.into_iter().next() else { continue };
        let imported = imports.entry(room.clone()).or_default();
        for (module, Named { path, .. }) in paths {
            let Some(target) = resolved(&path, &module) else { continue };
            let to = match target.first() {
                Some(first) if rooms.contains(first) => first.clone(),
                Some(first) => passed_on.get(first).cloned().unwrap_or_else(|| ROOT.to_owned()),
                None => ROOT.to_owned(),
            };
            if to != room {
                imported.entry(to).or_insert_with(|| format!("{file}: {}", path.join("::")));
            }
        }
    }
    imports
}

/// Where one gets from a room, import by import.
fn reached<'a>(imports: &'a Imports, room: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut queue = vec![room];
    while let Some(room) = queue.pop() {
        let to = imports.get(room).into_iter().flat_map(BTreeMap::keys);
        queue.extend(to.map(String::as_str).filter(|to| reached.insert(*to)));
    }
    reached
}

/// The rooms that are in a circle.
fn knotted(imports: &Imports) -> Vec<&str> {
    imports.keys().map(String::as_str).filter(|room| reached(imports, room).contains(room)).collect()
}

/// A shortest circle, each import of it with the place that makes it.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let circles = imports.keys().filter_map(|start| {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start.as_str()]);
        while let Some(room) = queue.pop_front() {
            for to in imports.get(room).into_iter().flat_map(BTreeMap::keys) {
                if came_from.contains_key(to.as_str()) {
                    continue;
                }
                came_from.insert(to, room);
                if to == start {
                    let mut way = vec![start.as_str()];
                    let mut at = came_from[start.as_str()];
                    while at != start {
                        way.push(at);
                        at = came_from[at];
                    }
                    way.push(start);
                    way.reverse();
                    return Some(way);
                }
                queue.push_back(to);
            }
        }
        None
    });
    let shortest = circles.min_by_key(Vec::len)?;
    let steps =
        shortest.windows(2).map(|step| format!("{} imports {} ({})", step[0], step[1], imports[step[0]][step[1]]));
    Some(steps.collect())
}

#[test]
fn the_rooms_of_a_crate_do_not_import_each_other_in_a_circle() {
    let in_crates = CRATES.iter().map(|name| format!("crates/{name}/src"));
    for name in in_crates.chain(ELSEWHERE.map(str::to_owned)) {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&name), "", &mut files);
        let imports = imports(&files);
        let arrows: usize = imports.iter().filter(|(room, _)| *room != ROOT).map(|(_, to)| to.len()).sum();
        println!("{name}: {} rooms, {arrows} imports between them", imports.len() - 1);
        assert!(arrows > 0, "{name}: no import was seen, so none can be judged");
        if let Some(circle) = circle(&imports) {
            let all = knotted(&imports);
            panic!(
                "{name}: rooms import each other in a circle:\n  {}\n{} rooms are in one: {}",
                circle.join("\n  "),
                all.len(),
                all.join(", ")
            );
        }
    }
}

/// A static is an import that nobody sees. What is one in spite of that is in docs/decisions/049-handles-not-statics.md.
const STATICS: [&str; 4] = [
    "qemu-pr-helper/clock.rs: START",
    "qemu-pr-helper/fuzzing/mod.rs: AUDIT",
    "qemu-pr-helper/fuzzing/mod.rs: LOG",
    "qemu-pr-helper/fuzzing/mod.rs: METRICS",
];

/// The statics of some code but for that of tests, those in functions included.
fn statics(stream: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        rest = match (test_item(rest), first, after) {
            (Some(skipped), ..) => &rest[skipped..],
            // A lifetime.
            (None, TokenTree::Punct(quote), [_, after @ ..]) if quote.as_char() == '\'' => after,
            (None, TokenTree::Ident(keyword), [TokenTree::Ident(name), ..]) if keyword == "static" => {
                found.push(name.to_string());
                after
            }
            (None, TokenTree::Group(group), _) => {
                statics(group.stream(), found);
                after
            }
            _ => after,
        };
    }
}

#[test]
fn rooms_are_given_what_they_use_and_have_no_statics() {
    let mut found = Vec::new();
    for name in CRATES {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/{name}/src")), "", &mut files);
        for (file, text) in files {
            let mut names = Vec::new();
            statics(text.parse().unwrap_or_else(|error| panic!("{file}: {error}")), &mut names);
            found.extend(names.into_iter().map(|static_| format!("{name}/{file}: {static_}")));
        }
    }
    found.sort();
    assert_eq!(found, STATICS);
}

#[test]
fn a_static_is_found_wherever_it_is() {
    let statics = |text: &str| {
        let mut found = Vec::new();
        self::statics(text.parse().expect("code"), &mut found);
        found
    };
    let code = "pub static A: u8 = 1; fn f<'a>(_: &'static str) { static B: u8 = 1; } mod m { static mut C: u8 = 1; }";
    assert_eq!(statics(code), ["A", "B", "mut"]);
    assert_eq!(
        statics("#[cfg(test)] mod tests { static A: u8 = 1; } const B: &'static str = \"static C: u8\";"),
        [""; 0]
    );
}

/// A program that only reads a command line and starts what does the work is not longer.
const LINES_OF_XTASK: usize = 4000;

#[test]
fn what_is_more_than_a_command_is_no_part_of_xtask() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let lines: usize = files.iter().map(|(_, text)| text.lines().filter(is_code).count()).sum();
    assert!((1000..=LINES_OF_XTASK).contains(&lines), "xtask has {lines} lines of code: what is not a command of it?");
}

fn found(files: &[(&str, &str)]) -> Option<Vec<String>> {
    let files: Vec<Source> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    circle(&imports(&files))
}

#[test]
fn a_circle_is_found_in_whatever_way_it_is_written() {
    for back in [
        "use crate::a::X;",
        "use crate::{c, a::X};",
        "use crate::{a as other};",
        "use super::a::X;",
        "pub(crate) use super::{a::{self, X}, c};",
        "fn f() -> crate::a::X { g() }",
        "fn f() { println!(\"{}\", crate::a::X) }",
        "mod inner { use super::super::a::X; }",
        "mod inner { fn f() { super::super::a::f() } }",
        "#[cfg(feature = \"x\")] use crate::a::X;",
        "impl Trait for crate::a::X {}",
    ] {
        let circle =
            found(&[("lib.rs", "mod a; mod b; mod c;"), ("a.rs", "use crate::b::Y;"), ("b.rs", back), ("c.rs", "")]);
        let circle = circle.unwrap_or_else(|| panic!("{back}: no circle was found"));
        assert_eq!(circle.len(), 2, "{back}: {circle:?}");
        assert!(circle.iter().any(|step| step.contains("b imports a (b.rs: ")), "{back}: {circle:?}");
    }
}

#[test]
fn a_circle_by_way_of_others_is_found_and_named() {
    let circle = found(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a/mod.rs", "mod deep;"),
        ("a/deep.rs", "use crate::{b::Y, d};"),
        ("b.rs", "use crate::c;"),
        ("c/x/y.rs", "use super::super::super::a::Z;"),
        ("d.rs", ""),
    ]);
    let expected = [
        "a imports b (a/deep.rs: crate::b::Y)",
        "b imports c (b.rs: crate::c)",
        "c imports a (c/x/y.rs: super::super::super::a::Z)",
    ];
    assert_eq!(circle.as_deref(), Some(&expected.map(str::to_owned)[..]));
}

#[test]
fn the_rooms_that_are_in_no_circle_are_not_blamed() {
    let files = [("lib.rs", "mod a;"), ("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::b;")];
    let files: Vec<Source> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(knotted(&imports(&files)), ["b", "c"]);
}

#[test]
fn a_room_that_imports_from_the_root_makes_a_circle() {
    let circle = found(&[("lib.rs", "mod a; pub fn f() {}"), ("a.rs", "use crate::f;")]);
    assert_eq!(circle.expect("a circle").len(), 2);
    // What is only passed on there is its room's.
    let files = [("lib.rs", "mod a; mod b; pub use b::{X as Y, Z};"), ("a.rs", "use crate::{Y, Z};"), ("b.rs", "")];
    assert_eq!(found(&files), None);
    let files = [("lib.rs", "mod a; mod b; pub use b::X;"), ("a.rs", "use crate::X;"), ("b.rs", "use crate::a;")];
    assert_eq!(found(&files).expect("a circle").len(), 2);
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", "crate::say!(1);"), ("b.rs", "macro_rules! say { () => {} }")];
    assert_eq!(found(&files), None);
}

#[test]
fn what_is_no_import_makes_no_circle() {
    for back in [
        "// use crate::a::X;\n/* crate::a::X */",
        "/// [`crate::a::X`]\nfn f() { let _ = \"crate::a::X\"; }",
        "#[cfg(test)] mod tests { use crate::a::X; }",
        "#[cfg(test)] #[path = \"b_tests.rs\"] mod tests;",
        "use other::a::X; fn f() { other::a::f() }",
        "mod a { pub struct X; } use self::a::X; mod inner { use super::a::X; }",
        "fn f() { a::f() }",
        "use crate::{c::X,};",
    ] {
        let files = [("lib.rs", "mod a; mod b; mod c;"), ("a.rs", "use crate::b::Y;"), ("b.rs", back), ("c.rs", "")];
        assert_eq!(found(&files), None, "{back}");
    }
}
