//! The documentation hangs together: each page is in the book, and each link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages in docs, without the table of contents.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter(|path| path.file_name().is_some_and(|name| name != "SUMMARY.md"))
        .collect();
    pages.sort();
    pages
}

/// The targets of `[…](…)` outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            found.extend(part.split(')').next().map(str::to_owned));
        }
    }
    found
}

/// The anchors of a page's headings, as the book's program and GitHub make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading =
        |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    text.lines()
        .filter_map(heading)
        .map(|title| {
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn each_page_is_in_the_table_of_contents_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let times = listed.iter().filter(|link| **link == name).count();
        assert_eq!(times, 1, "docs/{name} stands {times} times in docs/SUMMARY.md");
    }
}

#[test]
fn each_link_of_the_documentation_leads_to_a_file_and_a_heading() {
    let mut sources = pages();
    sources.extend(["README.md", "docs/SUMMARY.md"].map(|name| root().join(name)));
    let mut seen = 0;
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { source.clone() } else { source.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: the link {link} leads nowhere", source.display());
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(headings.contains(anchor), "{}: no heading for {link}", source.display());
            }
        }
    }
    assert!(seen > 30, "only {seen} links were found: are they still read?");
}

// === the threat model ===

/// What stands between back-quotes in the last cell of a table's row.
fn tests_of(row: &str) -> Vec<String> {
    let cell = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether there is a test of this name: `module::name` of `tests/integration` or of `src`, or a file.
fn exists(name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else {
        return root().join(name).is_file();
    };
    let module = module.strip_suffix("::tests").unwrap_or(module).replace("::", "/");
    let places = ["tests/integration", "src"].map(|place| root().join(place).join(&module));
    let files = places.iter().flat_map(|place| [place.with_extension("rs"), place.join("tests.rs")]);
    let declared = format!("fn {function}(");
    let is_there = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| line.contains(&declared));
        // Attributes and comments may stand between.
        at.is_some_and(|at| lines[at.saturating_sub(4)..at].iter().any(|line| line.contains("test")))
    };
    files.into_iter().any(is_there)
}

#[test]
fn each_promise_of_the_threat_model_has_a_test_that_is_there() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, rest) = page.split_once("\n## What is promised\n").expect("the chapter");
    let (chapter, _) = rest.split_once("\n## ").expect("a chapter after it");
    let rows: Vec<&str> = chapter.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    for row in rows {
        let tests = tests_of(row);
        assert!(!tests.is_empty(), "a promise without a test: {row}");
        for test in tests {
            assert!(exists(&test), "there is no test {test}: {row}");
        }
    }
    assert!(!exists("door::nobody_wrote_this") && !exists("tests/browser/none"));
}
