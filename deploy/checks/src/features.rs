//! The list of what was promised (`features.txt`), held against the tests there are: each row names the test that shows it, or
//! the work that will bring it. `docs/features.md` is that list with the files filled in.

use std::fmt::Write as _;

use crate::source::Source;

/// `features.txt`, read.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// What rows may be held for.
    subjects: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    section: String,
    name: String,
    shown: Shown,
}

/// How a row is shown.
#[derive(Clone, Debug)]
enum Shown {
    /// By tests: a name, or the end of a path, `::` and a name.
    Tests(Vec<String>),
    /// Not yet; the subject of the work that will bring it.
    Held(String),
}

/// A test function of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub path: String,
    pub name: String,
}

// === impl List ===

impl List {
    /// Lines that make no sense are left out; [`List::check`] then misses their rows where the table is there.
    pub fn read(text: &str) -> Self {
        let mut list = Self::default();
        let mut section = String::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if let Some(subject) = line.strip_prefix("subject ") {
                list.subjects.push(subject.to_owned());
            } else if let Some(title) = line.strip_prefix("== ") {
                title.clone_into(&mut section);
            } else {
                let (name, rest) = line.split_once(" | ").unwrap_or((line, ""));
                let shown = match rest.strip_prefix("held: ") {
                    Some(subject) => Shown::Held(subject.to_owned()),
                    None if rest.is_empty() => Shown::Tests(vec![named_after(name)]),
                    None => Shown::Tests(rest.split(", ").map(str::to_owned).collect()),
                };
                list.rows.push(Row { section: section.clone(), name: name.to_owned(), shown });
            }
        }
        list
    }

    /// Rows that name a test which is not there (or, where the name is not the row's own, not the only one), are held for nothing
    /// known, are held although their test is there, or stand in the list twice.
    pub fn check(&self, tests: &[Test]) -> Vec<String> {
        let mut findings = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            let name = &row.name;
            if self.rows[..at].iter().any(|earlier| earlier.name == *name) {
                findings.push(format!("features.txt: `{name}` is there twice"));
            }
            match &row.shown {
                Shown::Held(subject) if !self.subjects.contains(subject) => {
                    findings.push(format!("features.txt: `{name}` is held for `{subject}`, which is no subject there"));
                }
                Shown::Held(_) if !found(tests, &named_after(name)).is_empty() => {
                    findings.push(format!("features.txt: `{name}` is held, and its test is there: take `held` off"));
                }
                Shown::Held(_) => {}
                Shown::Tests(wanted) => {
                    for test in wanted {
                        let n_found = found(tests, test).len();
                        // Several crates may each show their part of a row.
                        if n_found == 0 || n_found > 1 && *test != named_after(name) {
                            findings.push(format!(
                                "features.txt: `{name}` names the test `{test}`, of which there are {n_found}"
                            ));
                        }
                    }
                }
            }
        }
        findings
    }

    /// Rows of the table from which the list was made that it lacks, and the other way about. `table` is Markdown whose first
    /// column holds the rows.
    pub fn check_against(&self, table: &str) -> Vec<String> {
        let cells = table.lines().filter_map(|line| line.strip_prefix("| "));
        let rows: Vec<String> =
            cells.filter_map(|line| Some(line.split(" | ").next()?.replace('`', ""))).skip(1).collect();
        let lacking = rows.iter().filter(|row| !self.rows.iter().any(|own| own.name == **row));
        let beyond = self.rows.iter().filter(|own| !rows.contains(&own.name));
        let lacking = lacking.map(|row| format!("features.txt: lacks the row `{row}`"));
        lacking.chain(beyond.map(|own| format!("features.txt: `{}` is no row of the table", own.name))).collect()
    }

    /// The page for people.
    pub fn page(&self, tests: &[Test]) -> String {
        let n_held = self.rows.iter().filter(|row| matches!(row.shown, Shown::Held(_))).count();
        let mut page = String::from(
            "# Features and their tests\n\nMade from `deploy/checks/features.txt` and the sources; edit those, not this file, \
             then `UPDATE_GENERATED=1 cargo test -p gateway-checks --test tidy`.\n",
        );
        let n_rows = self.rows.len();
        // Writing to a String cannot fail.
        let _ =
            writeln!(page, "\n{} of {n_rows} rows have tests; {n_held} are held for work to come.", n_rows - n_held);
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = &row.section;
                let _ = writeln!(page, "\n## {section}\n\n| Feature | Shown by |\n|---|---|");
            }
            let shown = match &row.shown {
                Shown::Held(subject) => format!("held: {subject}"),
                Shown::Tests(wanted) => {
                    let tests = wanted.iter().flat_map(|test| found(tests, test));
                    tests.map(|test| format!("`{}` in `{}`", test.name, test.path)).collect::<Vec<_>>().join("<br>")
                }
            };
            let _ = writeln!(page, "| {} | {shown} |", row.name);
        }
        page
    }
}

/// Every test function of Rust sources, by the attribute above it.
pub fn tests(sources: &[Source]) -> Vec<Test> {
    let mut tests = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let mut is_next = false;
        for line in source.text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_next = true;
            } else if is_next && let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
                tests.push(Test { path: source.path.clone(), name });
                is_next = false;
            }
        }
    }
    tests
}

fn found<'a>(tests: &'a [Test], wanted: &str) -> Vec<&'a Test> {
    let (path, name) = wanted.rsplit_once("::").unwrap_or(("", wanted));
    tests.iter().filter(|test| test.name == name && test.path.ends_with(path)).collect()
}

/// A row as the name of a function: letters and digits in lower case, whatever else is between them an underscore.
fn named_after(row: &str) -> String {
    let words = row.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests_of_the_rule {
    use super::*;

    const LIST: &str = "# words\nsubject later work\n\n== One\nChat JSON\nGET/DELETE it | a/b.rs::other, third\nWS | held: later work\n";

    fn sources() -> Vec<Source> {
        let gate = "#[test]";
        let a = format!(
            "//! a\n{gate}\nfn chat_json() {{}}\n#[tokio::test(flavor = \"x\")]\nasync fn other() {{}}\nfn ws() {{}}\n"
        );
        let b = format!(
            "//! b\n{gate}\nfn twin() {{}}\n{gate}\nfn twin() {{}}\n    {gate}\n    // why\n    fn third(x in 0..1) {{}}\n"
        );
        vec![Source::new("a/b.rs", &a), Source::new("b.rs", &b), Source::new("c.md", gate)]
    }

    fn check(list: &str, expected: &[&str]) {
        let findings = List::read(list).check(&tests(&sources()));
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, words) in findings.iter().zip(expected) {
            assert!(finding.contains(words), "{finding}");
        }
    }

    #[test]
    fn rows_without_a_test_are_found() {
        check(LIST, &[]);
        check(&LIST.replace("Chat JSON", "Chat SSE"), &["`chat_sse`, of which there are 0"]);
        check(&LIST.replace("third", "gone"), &["`gone`, of which there are 0"]);
        check(&LIST.replace("a/b.rs::other", "b/b.rs::other"), &["of which there are 0"]);
        check(&LIST.replace("third", "twin"), &["of which there are 2"]);
        check(&LIST.replace("Chat JSON", "Twin"), &[]);
        check(&LIST.replace("held: later work", "held: sometime"), &["no subject"]);
        check(&LIST.replace("WS |", "Third |"), &["take `held` off"]);
        check(&format!("{LIST}Chat JSON\n"), &["twice"]);
    }

    #[test]
    fn rows_that_the_list_lacks_are_found() {
        let table = "| Feature | Check |\n|---|---|\n| Chat JSON | `a \\| b` |\n| GET/DELETE it | x |\n| `WS` | x |\n";
        assert_eq!(List::read(LIST).check_against(table), Vec::<String>::new());
        assert_eq!(List::read(LIST).check_against(&table.replace("`WS`", "WS two")).len(), 2);
    }

    #[test]
    fn the_page_names_tests_and_files() {
        let page = List::read(LIST).page(&tests(&sources()));
        assert!(page.contains("2 of 3 rows"), "{page}");
        assert!(page.contains("| GET/DELETE it | `other` in `a/b.rs`<br>`third` in `b.rs` |"), "{page}");
        assert!(page.contains("| WS | held: later work |"), "{page}");
    }
}
